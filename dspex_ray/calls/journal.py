"""A process's own journal of model calls, so that none is lost or forgotten when it is killed.

| line     | written                          | says                                                             |
|----------|----------------------------------|------------------------------------------------------------------|
| intent   | before the call is sent          | the call as it is if nothing more is heard of it: `unknown`      |
| outcome  | after it ended                   | the call's record                                                |
| `closed` | at the end of a file             | open calls go on in the holder's next file, or there are none    |

Each line is one write: the page cache keeps it when the process is killed (not when the machine loses power). A file is
locked for as long as its process writes to it, so whoever gets the lock knows that it is over.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Final

Row = dict[str, Any]
Keep = Callable[[list[Row], str | None], None]
"""Keeps rows of calls durably; called with the holder when it is dead and these are all that is left of its calls."""

_ENDING: Final = ".jsonl"
_LARGEST: Final = 4 << 20
_LONGEST_ERROR: Final = 500
_NEEDED: Final = frozenset({"id", "at", "program", "model", "status"})
_CLOSED: Final = b'\n{"closed":true}'

_log = logging.getLogger(__name__)


class CallJournal:
    """The journal that one process (`holder`) writes. Safe for threads.

    A file of more than 4 MiB is closed and a new one begun; `closed` is told, so that somebody may fold it. A journal
    that cannot be written any more (a full disk) says so in the log, once, and model calls go on without.
    """

    def __init__(self, folder: Path, holder: str, closed: Callable[[], None] | None = None) -> None:
        """Begin the first file. Raises OSError when that cannot be."""
        self.folder, self.holder = folder, holder
        self._closed = closed
        self._open: dict[str, bytes] = {}
        self._numbers = itertools.count(1)
        self._lock = Lock()
        self._failed = False
        self._file, self._size = -1, 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin()

    def intend(self, row: Row) -> None:
        """Note a call that is about to be sent; `row` is its record without an outcome."""
        line = _line(row)
        with self._lock:
            self._open[row["id"]] = line
            self._write(line)

    def outcome(self, row: Row) -> None:
        """Note how a call ended."""
        line = _line(row)
        with self._lock:
            self._open.pop(row["id"], None)
            self._write(line)
            is_full = self._size > _LARGEST
            if is_full:
                self._next()
        if is_full and self._closed is not None:
            self._closed()

    def close(self, *, is_kept: bool = False) -> None:
        """End the journal. `is_kept` says that the ledger has every call of it, so that its files may go."""
        with self._lock:
            if self._file < 0:
                return
            if not self._open:
                self._write(_CLOSED)
            os.close(self._file)
            self._file = -1
        if is_kept and not self._open:
            for path in self.folder.glob(f"{self.holder}.*{_ENDING}"):
                path.unlink(missing_ok=True)

    def _begin(self) -> None:
        name = f"{self.holder}.{next(self._numbers)}"
        made = self.folder / f"{name}.new"
        self._file = os.open(made, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        made.rename(self.folder / f"{name}{_ENDING}")  # only a locked file has the name that others look for
        self._size = 0

    def _next(self) -> None:
        before = self._file
        try:
            self._begin()
        except OSError as error:
            self._give_up(error)
            return
        for line in self._open.values():
            self._write(line)
        os.write(before, _CLOSED)
        os.close(before)

    def _write(self, line: bytes) -> None:
        if self._file < 0 or self._failed:
            return
        try:
            os.write(self._file, line)
        except OSError as error:
            self._give_up(error)
        self._size += len(line)

    def _give_up(self, error: OSError) -> None:
        self._failed = True
        _log.error("the journal of model calls in %s cannot be written any more: %s", self.folder, error)


def fold(folder: Path, keep: Keep) -> int:
    """Hand the calls of all files that nobody writes any more to `keep`, and remove those; return how many calls.

    Calls without an outcome are handed over as `unknown`. One process folds a folder at a time; another one that comes
    meanwhile leaves it at that. Raises what `keep` raises; the file then stays for the next one.
    """
    paths = sorted(folder.glob(f"*{_ENDING}"))
    if not paths:
        return 0
    with _locked(folder / ".folding", os.O_RDWR | os.O_CREAT) as file:
        return 0 if file is None else sum(_folded(path, keep) for path in paths)


@contextmanager
def _locked(path: Path, flags: int = os.O_RDWR) -> Iterator[int | None]:
    """Give the opened file while it is locked; None if it is not there or another process has it."""
    try:
        file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file
    finally:
        os.close(file)


def _folded(path: Path, keep: Keep) -> int:
    with _locked(path) as file:
        if file is None:
            return 0
        rows, is_closed = _read(path)
        known = [row for row in rows.values() if not (is_closed and row["status"] == "unknown")]
        holder = path.name.partition(".")[0]
        is_last = not any(other != path for other in path.parent.glob(f"{holder}.*{_ENDING}"))
        keep(known, holder if is_last else None)
        path.unlink()
        return len(known)


def _read(path: Path) -> tuple[dict[str, Row], bool]:
    """Return the last line of each call, and whether the file was closed; a line that was cut is passed over."""
    rows: dict[str, Row] = {}
    is_closed = False
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line) if line else {}
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("closed"):
            is_closed = True
        elif isinstance(row, dict) and row.keys() >= _NEEDED:
            rows[row["id"]] = row
    return rows, is_closed


def journal_folder(url: str) -> Path:
    """Return where this machine keeps the journals of a store: beside a SQLite file, else in a temporary folder.

    A machine that cannot write beside the SQLite file keeps them in a temporary one, too.
    """
    scheme, _, rest = url.partition(":///")
    if scheme.startswith("sqlite") and rest:
        path = Path(rest.partition("?")[0])
        if os.access(path.parent, os.W_OK):
            return path.with_name(f"{path.name}-journals")
    digest = sha256(url.encode()).hexdigest()[:16]  # the URL may hold a password
    return Path(tempfile.gettempdir()) / f"dspex-{os.getuid()}" / f"journals-{digest}"


def _line(row: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in row.items() if value is not None}
    if "error" in kept:
        kept["error"] = kept["error"][:_LONGEST_ERROR]
    return b"\n" + json.dumps(kept, separators=(",", ":")).encode()
