"""What the control group of this process may use and does use (Linux cgroups, versions 1 and 2)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_UNLIMITED = 1 << 60  # version 1 writes "no limit" as the largest multiple of a page


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """Bytes used, without file pages that can be dropped at once, and bytes allowed."""

    used: int
    total: int


@dataclass(frozen=True, slots=True)
class CpuBound:
    """Seconds of CPU used since the group was made, and how many CPUs it may use at once."""

    used_s: float
    cpus: float


class ControlGroup:
    """The bounds of the group and of all above it; the tightest one counts. `root` stands in for `/` in tests."""

    def __init__(self, root: str = "/") -> None:
        self._proc = Path(root, "proc/self/cgroup")
        self._mount = Path(root, "sys/fs/cgroup")

    def memory(self) -> MemoryBound | None:
        """Return the memory bound, or None where nothing bounds it."""
        found = [_memory_v2(path) for path in self._chain("")]
        found += [_memory_v1(path) for path in self._chain("memory")]
        return min((bound for bound in found if bound is not None), key=lambda bound: bound.total, default=None)

    def cpu(self) -> CpuBound | None:
        """Return the bound on CPU time, or None where nothing bounds it."""
        found = [_cpu_v2(path) for path in self._chain("")]
        pairs = zip(reversed(self._chain("cpu")), reversed(self._chain("cpuacct")), strict=False)
        found += [_cpu_v1(quota, usage) for quota, usage in pairs]
        return min((bound for bound in found if bound is not None), key=lambda bound: bound.cpus, default=None)

    def _chain(self, controller: str) -> list[Path]:
        """Return the directories of our group, then of those above it; "" is the one hierarchy of version 2.

        Inside a container the group may be named as the machine sees it, while what is mounted is the container's own:
        so those that are not there are left out.
        """
        try:
            lines = self._proc.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        for line in lines:
            _, controllers, group = line.split(":", 2)
            if controller in controllers.split(","):
                mount = self._mount / controllers if controller else self._mount
                parts = PurePosixPath(group).parts[1:]
                chain = [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
                return [path for path in chain if path.is_dir()]
        return []


def _memory_v2(path: Path) -> MemoryBound | None:
    limit, used = _number(path / "memory.max"), _number(path / "memory.current")
    if limit is None or used is None:
        return None
    return MemoryBound(max(0, used - _stat(path / "memory.stat", "inactive_file")), limit)


def _memory_v1(path: Path) -> MemoryBound | None:
    limit, used = _number(path / "memory.limit_in_bytes"), _number(path / "memory.usage_in_bytes")
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    return MemoryBound(max(0, used - _stat(path / "memory.stat", "total_inactive_file")), limit)


def _cpu_v2(path: Path) -> CpuBound | None:
    words = _text(path / "cpu.max").split()
    if len(words) != 2 or not words[0].isdigit():  # noqa: PLR2004 - "quota period"; "max" is no quota
        return None
    return CpuBound(_stat(path / "cpu.stat", "usage_usec") / 1e6, int(words[0]) / int(words[1]))


def _cpu_v1(path: Path, account: Path) -> CpuBound | None:
    quota, period = _number(path / "cpu.cfs_quota_us"), _number(path / "cpu.cfs_period_us")
    used = _number(account / "cpuacct.usage")
    if quota is None or period is None or used is None or quota <= 0:
        return None
    return CpuBound(used / 1e9, quota / period)


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):  # a controller that is not there bounds nothing
        return path.read_text(encoding="ascii")
    return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.removeprefix("-").isdigit() else None


def _stat(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0
