"""Which cache a process uses: none, one in memory, or one in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dspex_ray.errors import ConfigurationError

_BYTES = 2**30


def default_folder() -> Path:
    """Return the folder that `disk` means without a path: `dspex_ray/replies` in the user's cache folder."""
    return Path.home() / ".cache" / "dspex_ray" / "replies"


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`kind` is `off`, `memory` (one for each process) or `disk` (shared by all processes that name the folder).

    Raises ConfigurationError for another kind, or a bound below 1.
    """

    kind: Literal["off", "memory", "disk"] = "off"
    folder: str | None = None
    memory_bytes: int = 64 * 2**20
    disk_bytes: int = _BYTES

    def __post_init__(self) -> None:
        if self.kind not in ("off", "memory", "disk"):
            raise ConfigurationError(f"A cache is 'off', 'memory' or 'disk', got {self.kind!r}.")
        if self.memory_bytes < 1 or self.disk_bytes < 1:
            raise ConfigurationError(f"A cache's bounds are at least 1 byte, got {self!r}.")

    @staticmethod
    def of(value: str | CacheSettings | None) -> CacheSettings:
        """Return settings from `off`, `memory`, `disk` or a folder's path; None is `off`."""
        if isinstance(value, CacheSettings):
            return value
        if not value or value == "off":
            return CacheSettings()
        if value == "memory":
            return CacheSettings("memory")
        return CacheSettings("disk", None if value == "disk" else str(Path(value).expanduser().absolute()))

    @property
    def path(self) -> Path:
        """The folder of a disk cache."""
        return Path(self.folder) if self.folder else default_folder()
