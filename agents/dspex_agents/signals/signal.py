"""`Signal`: one event in the CloudEvents 1.0 envelope, checked when built, with its JSON format in and out.

Source: CloudEvents 1.0.2 and its JSON event format, https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.clock import Clock
from dspex_agents.errors import SpecError
from dspex_agents.ids import IdSource

_OPTIONAL = ("time", "subject", "datacontenttype", "dataschema")
ATTRIBUTES = ("specversion", "id", "source", "type", *_OPTIONAL)
"""The context attributes that CloudEvents 1.0 names; every other one is an extension."""
_MAX_DEPTH = 100
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of RFC 2045's grammar
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|\"[^\"]*\"))*")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?"
    r"(?:[Zz]|[+-]([0-9]{2}):([0-9]{2}))"
)
_EXTENSION_NAME = re.compile(r"[a-z0-9]+")
# control characters, lone surrogates and noncharacters may not occur in a context attribute
_BAD_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_INT32 = 2**31


class SignalError(SpecError):
    """A signal that is no CloudEvents 1.0 event; `attribute` is the bad one, `problem` says what would be right."""

    def __init__(self, attribute: str, problem: str) -> None:
        super().__init__(attribute, problem)
        self.attribute, self.problem = attribute, problem

    def __str__(self) -> str:
        return f"Signal attribute {self.attribute!r} {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One event. `source` and `id` together are its identity: two signals that share both are the same event.

    `time` is RFC 3339; `data` is a JSON value or bytes (None: no data) and is copied, so that nobody changes it
    afterwards; `extensions` holds further attributes (text, whole numbers of 32 bits, booleans). Raises SignalError.
    """

    id: str
    source: str
    type: str
    time: str | None = None
    subject: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: Any = None
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict)
    specversion: str = "1.0"

    def __post_init__(self) -> None:
        for name in ATTRIBUTES:
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            _check_text(name, value)
            if (check := _CHECKS.get(name)) is not None and (problem := check(str(value))):
                raise SignalError(name, f"{problem}, got {value!r}.")
        object.__setattr__(self, "extensions", _checked_extensions(self.extensions))
        object.__setattr__(self, "data", self.data if isinstance(self.data, bytes) else _plain(self.data, "data", 0))

    def __hash__(self) -> int:
        return hash((self.source, self.id))

    @classmethod
    def create(
        cls,
        type_: str,
        source: str,
        data: Any = None,
        *,
        ids: IdSource,
        clock: Clock,
        **attributes: Any,
    ) -> Signal:
        """Build a signal of this moment with a fresh id; `attributes` are the constructor's others."""
        return cls(id=ids.new("signal"), source=source, type=type_, time=rfc3339(clock.now()), data=data, **attributes)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON event format as a dict: attributes side by side, bytes as `data_base64`."""
        event = {name: value for name in ATTRIBUTES if (value := getattr(self, name)) is not None}
        event.update(self.extensions)
        if isinstance(self.data, bytes):
            event["data_base64"] = base64.b64encode(self.data).decode("ascii")
        elif self.data is not None:
            event["data"] = self.data
        return event

    def to_json(self) -> str:
        """Return the JSON event format (`application/cloudevents+json`)."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, event: Mapping[str, Any]) -> Signal:
        """Build a signal from the JSON event format. A null counts as absent. Raises SignalError."""
        if not isinstance(event, Mapping):
            raise SignalError("(event)", f"must be a JSON object, got {type(event).__name__}.")
        given = {name: value for name, value in event.items() if value is not None}
        for name in ("specversion", "id", "source", "type"):
            if name not in given:
                raise SignalError(name, "is required and missing.")
        if "data" in given and "data_base64" in given:
            raise SignalError("data", "and 'data_base64' exclude each other; send one of them.")
        encoded = given.pop("data_base64", None)
        data = given.pop("data", None) if encoded is None else _decoded(encoded)
        known = {name: given.pop(name) for name in ATTRIBUTES if name in given}
        return cls(**known, data=data, extensions=given)

    @classmethod
    def from_json(cls, text: str | bytes) -> Signal:
        """Parse the JSON event format. Raises SignalError, also for text that is no JSON or names a member twice."""
        try:
            event = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        except RecursionError:
            raise SignalError("(event)", f"is nested deeper than {_MAX_DEPTH} levels.") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise SignalError("(event)", f"is no JSON text: {error}.") from None
        return cls.from_dict(event)


def rfc3339(seconds: float) -> str:
    """Return seconds since the epoch as an RFC 3339 time in UTC, to the microsecond."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise SignalError(name, f"must be text, got {type(value).__name__}.")
    if not value:
        raise SignalError(name, "must not be empty.")
    _check_characters(name, value)


def _check_characters(name: str, value: str) -> None:
    if bad := _BAD_CHARACTER.search(value):
        raise SignalError(name, f"must hold no control or non-character, has U+{ord(bad[0]):04X} at {bad.start()}.")


def _version_problem(value: str) -> str:
    return "" if value == "1.0" else "must be '1.0'"


def _source_problem(value: str) -> str:
    return "" if _URI_REFERENCE.fullmatch(value) else "must be a URI reference such as '/sensors/load'"


def _schema_problem(value: str) -> str:
    is_uri = _SCHEME.match(value) and _URI_REFERENCE.fullmatch(value)
    return "" if is_uri else "must be an absolute URI such as 'https://example.com/schema.json'"


def _media_type_problem(value: str) -> str:
    return "" if _MEDIA_TYPE.fullmatch(value) else "must be a media type such as 'application/json'"


def _time_problem(value: str) -> str:
    problem = "must be an RFC 3339 time such as '2026-01-31T12:00:00Z'"
    if (match := _TIME.fullmatch(value)) is None:
        return problem
    year, month, day, hour, minute, second, off_hour, off_minute = (int(part or 0) for part in match.groups())
    try:
        dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=dt.UTC)  # RFC 3339 allows second 60
    except ValueError as error:
        return f"{problem} ({error})"
    in_range = second <= 60 and off_hour < 24 and off_minute < 60  # noqa: PLR2004 - the clock's own numbers
    return "" if in_range else problem


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "specversion": _version_problem,
    "source": _source_problem,
    "time": _time_problem,
    "datacontenttype": _media_type_problem,
    "dataschema": _schema_problem,
}


def _checked_extensions(extensions: Mapping[Any, Any]) -> dict[str, str | int | bool]:
    checked: dict[str, str | int | bool] = {}
    for name, value in extensions.items():
        if not isinstance(name, str) or not _EXTENSION_NAME.fullmatch(name):
            raise SignalError(str(name), "is no extension name: use lower-case letters a-z and digits only.")
        if name in ATTRIBUTES or name == "data":
            raise SignalError(name, "is an attribute of CloudEvents itself and cannot be an extension.")
        match value:
            case bool():
                checked[name] = value
            case int() if -_INT32 <= value < _INT32:
                checked[name] = value
            case str():
                _check_characters(name, value)
                checked[name] = value
            case _:
                raise SignalError(name, f"must be text, a boolean or a whole number of 32 bits, got {value!r}.")
    return checked


def _plain(value: Any, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise SignalError("data", f"is nested deeper than {_MAX_DEPTH} levels.")
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        case Mapping():
            if odd := [key for key in value if not isinstance(key, str)]:
                raise SignalError("data", f"must have text as names, but {path} has {odd[0]!r}.")
            return {key: _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
        case _:
            shown = repr(value) if isinstance(value, float) else f"a {type(value).__name__}"
            raise SignalError("data", f"must be a JSON value or bytes, but {path} is {shown}.")


def _decoded(encoded: Any) -> bytes:
    if not isinstance(encoded, str):
        raise SignalError("data_base64", f"must be text, got {type(encoded).__name__}.")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignalError("data_base64", f"is no base64 text: {error}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise SignalError(next(n for n in names if names.count(n) > 1), "occurs twice in one JSON object.")
    return members


def _no_constant(constant: str) -> Any:
    raise SignalError("data", f"must be JSON, which knows no {constant}.")
