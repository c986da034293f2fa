"""The record of management actions: append-only, each entry bound to the one before it by a hash.

| attack                              | what finds it                                                    |
|-------------------------------------|------------------------------------------------------------------|
| an entry is changed                 | its hash no longer fits                                          |
| an entry is taken out or put in     | the numbers have a gap, or `previous` does not fit               |
| the last entries are cut off        | `verify` against a head noted elsewhere, such as in a CI log     |
| all entries are written anew        | likewise                                                         |

The hash is SHA-256 over the entry in canonical JSON (sorted keys, no blanks, ASCII), `previous` included. Triggers
refuse to change or take out an entry; whoever may drop triggers is whom the chain is for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dspex_ray.errors import AuditError, UsageError

GENESIS: Final = "0" * 64
"""What stands for the hash before the first entry."""
_MOST_NAME, _MOST_DETAILS = 200, 50_000
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What somebody did: `action` such as `key.create`, on `subject`, such as a key's id. `details` are JSON."""

    by: str
    action: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An action as it is kept; `number` counts from 1, `at` is in seconds since the epoch, hashes are in hex."""

    number: int
    at: float
    by: str
    action: str
    subject: str
    details: str
    previous: str
    hash: str

    def true_hash(self) -> str:
        """Return the hash that fits what the entry says."""
        said = [self.number, float(self.at), self.by, self.action, self.subject, self.details, self.previous]
        return hashlib.sha256(canonical(said).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON, its details as an object."""
        return {name: getattr(self, name) for name in self.__slots__} | {"details": json.loads(self.details)}


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many entries it has and the hash of the last one."""

    number: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Return a head as it was written down. Raises UsageError for what is none."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"A head is written as NUMBER:HASH, as `dspex audit verify` tells it, got {text[:80]!r}.")
        return cls(int(found[1]), found[2])


def canonical(value: Any) -> str:
    """Return the one text of a JSON value. Raises UsageError for what is no JSON."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"The details of an action must be JSON: {error}.") from error


def entry(head: Head, action: Action, at: float) -> AuditEntry:
    """Return the entry that comes after `head`. Raises UsageError for details that are no JSON or too long."""
    details = canonical(dict(action.details))
    if len(details) > _MOST_DETAILS:
        raise UsageError(f"The details of an action have {len(details)} characters, at most {_MOST_DETAILS} are kept.")
    said: dict[str, Any] = {
        "number": head.number + 1,
        "at": float(at),
        "by": _text(action.by) or "unknown",
        "action": _text(action.action),
        "subject": _text(action.subject),
        "details": details,
        "previous": head.hash,
    }
    return AuditEntry(**said, hash=AuditEntry(**said, hash="").true_hash())


def verify(entries: Iterable[AuditEntry], noted: Head | None = None) -> Head:
    """Follow a whole chain and return its head. `noted` is a head that it had at some time.

    Raises AuditError at the first link that is broken or missing.
    """
    head, met = Head(), noted is None or noted == Head()
    for one in _linked(entries):
        head = Head(one.number, one.hash)
        met = met or head == noted
        if noted is not None and one.number == noted.number and not met:
            raise AuditError(f"Entry {one.number} is another one than was noted: all up to it were written anew.")
    if noted is not None and not met:
        raise AuditError(f"The record ends at entry {head.number}, but had {noted.number}: the last were taken out.")
    return head


def _linked(entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
    head = Head()
    for one in entries:
        if one.number != head.number + 1:
            raise AuditError(f"Entry {head.number + 1} is missing; the next one there is {one.number}.")
        if one.previous != head.hash:
            raise AuditError(
                f"Entry {one.number} does not follow entry {head.number}: one of the two was changed or put in."
            )
        if one.true_hash() != one.hash:
            raise AuditError(f"Entry {one.number} was changed after it was kept: its hash does not fit.")
        head = Head(one.number, one.hash)
        yield one


def _text(value: str) -> str:
    """Return text that every database takes."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")[:_MOST_NAME]
