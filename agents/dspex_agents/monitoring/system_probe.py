"""`SystemProbe`: the figures of the node it runs on, as shares of what that node really has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from dspex_agents.monitoring.control_group import ControlGroup

_T = TypeVar("_T")
_WINDOW_S = 60.0
_MIN_SPAN_S = 10.0  # a shorter look at the CPU says more about the look than about the load


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFigures:
    """Figures of one node, shares in percent, sizes in bytes.

    CPU and memory are shares of what the control group allows where that is less than the machine has. `cpu_usage` is
    that of the last 30 to 60 seconds, or since the first look at least 10 seconds ago; None means not known.
    `disk_usage` counts as `df` does. `problems` names what could not be read.
    """

    node: str = ""
    cpus: float = 0.0
    cpu_usage: float | None = None
    memory_usage: float | None = None
    memory_used: int = 0
    memory_total: int = 0
    disk_usage: float | None = None
    disk_used: int = 0
    disk_total: int = 0
    load: tuple[float, float, float] = (0.0, 0.0, 0.0)
    problems: tuple[str, ...] = ()


class Probe(Protocol):
    """Whoever reads the figures of a node."""

    def read(self, now: float) -> SystemFigures:
        """Return the figures of this moment, `now` in seconds that never go back. May block for a moment."""
        ...


class _CpuMark(NamedTuple):
    """Seconds of CPU used and to be had since some start, at a moment."""

    at: float
    busy_s: float
    capacity_s: float


class SystemProbe:
    """Reads `/proc`, the control group and the file system of `disk_path`. `root` stands in for `/` in tests."""

    def __init__(self, disk_path: str = "/", root: str = "/") -> None:
        self._disk_path, self._proc, self._group = disk_path, Path(root, "proc"), ControlGroup(root)
        self._older: _CpuMark | None = None
        self._newer: _CpuMark | None = None

    def read(self, now: float) -> SystemFigures:
        """Return the figures of this moment; one that cannot be read is None and told in `problems`."""
        problems: list[str] = []
        no_cpu: tuple[float, float | None] = (0.0, None)
        cpus, cpu_usage = _try(lambda: self._cpu(now), no_cpu, "cpu", problems)
        memory_used, memory_total = _try(self._memory, (0, 0), "memory", problems)
        disk_used, disk_total = _try(self._disk, (0, 0), "disk", problems)
        return SystemFigures(
            node=os.uname().nodename,
            cpus=cpus,
            cpu_usage=cpu_usage,
            memory_usage=_percent(memory_used, memory_total),
            memory_used=memory_used,
            memory_total=memory_total,
            disk_usage=_percent(disk_used, disk_total),
            disk_used=disk_used,
            disk_total=disk_total,
            load=_try(os.getloadavg, (0.0, 0.0, 0.0), "load", problems),
            problems=tuple(problems),
        )

    def _cpu(self, now: float) -> tuple[float, float | None]:
        cpus, busy_s, capacity_s = parse_cpu((self._proc / "stat").read_text(encoding="ascii"))
        allowed = float(cpus)
        bound = self._group.cpu()
        if bound is not None and bound.cpus < cpus:
            allowed, busy_s, capacity_s = bound.cpus, bound.used_s, capacity_s / cpus * bound.cpus
        return allowed, self._usage(_CpuMark(now, busy_s, capacity_s))

    def _usage(self, mark: _CpuMark) -> float | None:
        if self._older is None or self._newer is None:
            self._older = self._newer = mark
        if mark.at - self._newer.at >= _WINDOW_S / 2:
            self._older, self._newer = self._newer, mark
        if mark.at - self._older.at < _MIN_SPAN_S:
            return None
        return _percent(mark.busy_s - self._older.busy_s, mark.capacity_s - self._older.capacity_s)

    def _memory(self) -> tuple[int, int]:
        used, total = parse_memory((self._proc / "meminfo").read_text(encoding="ascii"))
        bound = self._group.memory()
        return (bound.used, bound.total) if bound is not None and bound.total < total else (used, total)

    def _disk(self) -> tuple[int, int]:
        disk = os.statvfs(self._disk_path)
        used = disk.f_blocks - disk.f_bfree
        return used * disk.f_frsize, (used + disk.f_bavail) * disk.f_frsize  # without what is reserved for root


def parse_cpu(stat: str) -> tuple[int, float, float]:
    """Return the number of CPUs and the seconds busy and in all, from `/proc/stat`. Raises ValueError."""
    lines = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    if not lines or lines[0][0] != "cpu":
        raise ValueError("/proc/stat has no line 'cpu'")
    ticks = [int(word) for word in lines[0][1:9]]  # guests are counted within user and nice already
    total, idle = sum(ticks), sum(ticks[3:5])  # idle and iowait
    hertz = os.sysconf("SC_CLK_TCK")
    return max(1, len(lines) - 1), (total - idle) / hertz, total / hertz


def parse_memory(meminfo: str) -> tuple[int, int]:
    """Return the bytes that are not available and all there are, from `/proc/meminfo`. Raises ValueError."""
    sizes = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    if missing := {"MemTotal", "MemAvailable"} - sizes.keys():
        raise ValueError(f"/proc/meminfo has no {' and no '.join(sorted(missing))}")
    total, available = (int(sizes[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total - available, total


def _percent(part: float, whole: float) -> float | None:
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2) if whole > 0 else None


def _try(read: Callable[[], _T], otherwise: _T, what: str, problems: list[str]) -> _T:
    try:
        return read()
    except (OSError, ValueError) as error:
        problems.append(f"{what}: {type(error).__name__}: {error}")
        return otherwise
