"""Replies as files, one JSON object each, named by their key; any number of processes may share the folder.

A file appears under its name at once and whole (written beside, then renamed), so a reader sees an entry or none, and
writers of the same key overwrite each other with equal content.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.cache.base import CachedReply, OtherFormatError

_log = logging.getLogger(__name__)
_TOUCH_AFTER_S = 3600.0  # how often a use is noted, for dropping the least recently used first
_PRUNE_SHARE = 16  # the folder is measured each time so much of its room was written again by this process
_KEEP_SHARE = 0.9
_ABANDONED_S = 3600.0  # a half-written file of a process that was killed
_KEY_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """What is in a folder: entries and their bytes."""

    entries: int
    bytes: int


class DiskCache:
    """Files under `folder`, at most about `max_bytes`; the least recently used go first.

    The folder is made with access for its owner only, since requests and replies may be confidential. Raises
    ConfigurationError if it cannot be made. One that may only be read answers what it has. The log says once when
    nothing can be kept (a full disk, a folder that is read-only), and again after it had got better.
    """

    def __init__(self, folder: str | Path, max_bytes: int = 2**30) -> None:
        if max_bytes < 1:
            raise ConfigurationError(f"A disk cache needs max_bytes of at least 1, got {max_bytes}.")
        self.folder, self.max_bytes = Path(folder).expanduser(), max_bytes
        self._written, self._is_failing = 0, False
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"The cache folder {self.folder} cannot be used: {error}. Name another one, or turn the cache off."
            ) from error
        with contextlib.suppress(OSError):  # for backup tools; what cannot be written is told with the first reply
            (self.folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n", encoding="ascii")

    def get(self, key: str) -> CachedReply | None:
        """Return what is kept under the key; a file that is no entry counts as none and is removed."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("cannot read the cached reply %s: %s", path, error)
            return None
        try:
            kept = CachedReply.from_json(json.loads(data))
        except OtherFormatError as error:
            _log.debug("left the cached reply %s alone: %s", path, error)
            return None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            _log.warning("dropped the cached reply %s, which is no entry of this cache: %s", path, error)
            _remove(path)
            return None
        self._note_use(path)
        return kept if kept.key == key else None

    def put(self, kept: CachedReply) -> None:
        """Write an entry; when it cannot be written, the log says so and nothing is kept."""
        path = self._path(kept.key)
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        data = json.dumps(kept.to_json()).encode("ascii")
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - by descriptor
                file.write(data)
            beside.replace(path)
        except OSError as error:
            _remove(beside)
            if not self._is_failing:
                told = "cannot keep replies in the cache folder %s, models are asked without it: %s"
                _log.warning(told, self.folder, error)
            self._is_failing = True
            return
        self._is_failing = False
        self._written += len(data)
        if self._written > self.max_bytes // _PRUNE_SHARE:
            self._written = 0
            self.prune()

    def entries(self) -> Iterator[CachedReply]:
        """Yield every entry that can be read, in the order of their keys."""
        for path in sorted(self._files()):
            if (kept := self.get(path.stem)) is not None:
                yield kept

    def measure(self) -> Measured:
        """Return how many entries there are and what they take."""
        sizes = [status.st_size for path in self._files() if (status := _status(path)) is not None]
        return Measured(len(sizes), sum(sizes))

    def prune(self, max_bytes: int | None = None) -> int:
        """Remove the least recently used entries until the rest fits, with some room to grow. Return how many went."""
        limit = self.max_bytes if max_bytes is None else max_bytes
        found = [(status.st_mtime, status.st_size, path) for path in self._files() if (status := _status(path))]
        self._remove_abandoned()
        total, gone = sum(size for _, size, _ in found), 0
        if total <= limit:
            return 0
        for _, size, path in sorted(found):
            _remove(path)
            total, gone = total - size, gone + 1
            if total <= limit * _KEEP_SHARE:
                break
        return gone

    def clear(self) -> int:
        """Remove every entry. Return how many went."""
        gone = 0
        for path in self._files():
            path.unlink(missing_ok=True)
            gone += 1
        return gone

    def _path(self, key: str) -> Path:
        if len(key) != _KEY_DIGITS or not set(key) <= set("0123456789abcdef"):
            raise ValueError(f"A key is {_KEY_DIGITS} hex digits, got {key!r}.")
        return self.folder / key[:2] / f"{key}.json"

    def _files(self) -> Iterator[Path]:
        return self.folder.glob("[0-9a-f][0-9a-f]/*.json")

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.tmp"):
            if (status := _status(path)) and time.time() - status.st_mtime > _ABANDONED_S:
                _remove(path)

    def _note_use(self, path: Path) -> None:
        status = _status(path)
        if status is not None and time.time() - status.st_mtime > _TOUCH_AFTER_S:
            try:
                os.utime(path)
            except OSError:
                return  # a folder that may be read only, or an entry that another process removed

    def __repr__(self) -> str:
        return f"DiskCache({str(self.folder)!r}, max_bytes={self.max_bytes})"


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # another process was faster, or the folder is read-only
        path.unlink()


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # another process removed it
