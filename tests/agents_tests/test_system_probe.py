"""The figures of a node as a table: from the kernel's files to shares of what there really is."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from dspex_agents.monitoring.control_group import ControlGroup, CpuBound, MemoryBound
from dspex_agents.monitoring.system_probe import SystemProbe, parse_cpu, parse_memory

HZ = os.sysconf("SC_CLK_TCK")
MIB = 2**20
MEMINFO = "MemTotal:        1048576 kB\nMemFree:           10000 kB\nMemAvailable:     786432 kB\n"


def stat(busy_s: float, idle_s: float, cpus: int = 2) -> str:
    """Return a `/proc/stat`: time as user, system and steal, idle and iowait; guests are part of user."""
    third, half = int(busy_s * HZ) // 3, int(idle_s * HZ) // 2
    rest = int(busy_s * HZ) - 2 * third
    line = f"{rest} 0 {third} {int(idle_s * HZ) - half} {half} 0 0 {third} {third} 0"
    return "\n".join([f"cpu  {line}", *(f"cpu{n} 1 2 3 4 5 6 7 8 9 10" for n in range(cpus)), "ctxt 5", ""])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, {"proc/stat": stat(0, 0), "proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/app\n"})
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


def test_cpu_time_is_busy_but_for_idle_and_waiting_for_the_disk_and_guests_are_not_counted_twice() -> None:
    cpus, busy_s, all_s = parse_cpu(stat(30, 70, cpus=4))
    assert (cpus, round(busy_s, 1), round(all_s, 1)) == (4, 30.0, 100.0)


@pytest.mark.parametrize(
    "lines",
    [
        {"memory/memory.limit_in_bytes": "2000"},
        {"memory/memory.usage_in_bytes": "1500"},
        {"memory/memory.limit_in_bytes": str(1 << 60), "memory/memory.usage_in_bytes": "1500"},
        {"cpu/cpu.cfs_quota_us": "0", "cpu/cpu.cfs_period_us": "100000", "cpuacct/cpuacct.usage": "5"},
        {"cpu/cpu.cfs_period_us": "100000", "cpuacct/cpuacct.usage": "5"},
        {"cpu/cpu.cfs_quota_us": "100000", "cpuacct/cpuacct.usage": "5"},
        {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
    ],
)
def test_a_control_group_of_which_a_part_is_missing_or_nothing_is_bounds_nothing(
    root: Path, lines: dict[str, str]
) -> None:
    write(root, {"proc/self/cgroup": "4:memory:/\n2:cpuacct:/\n1:cpu:/\n0::/\n"})
    write(root, {f"sys/fs/cgroup/{name}": text for name, text in lines.items()})
    for controller in ("cpu", "cpuacct", "memory"):
        (root / "sys/fs/cgroup" / controller).mkdir(exist_ok=True)
    group = ControlGroup(str(root))
    assert (group.memory(), group.cpu()) == (None, None)


@pytest.mark.parametrize("text", ["", "intr 1\n", "cpu0 1 2 3 4\n"])
def test_a_stat_file_without_its_first_line_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no line 'cpu'"):
        parse_cpu(text)


def test_used_memory_is_what_is_not_available() -> None:
    assert parse_memory(MEMINFO) == (256 * MIB, 1024 * MIB)
    with pytest.raises(ValueError, match="no MemAvailable"):
        parse_memory("MemTotal: 10 kB\n")


def test_the_cpu_share_is_that_of_the_time_between_two_looks(root: Path) -> None:
    probe = SystemProbe(root=str(root))
    write(root, {"proc/stat": stat(1000, 9000)})
    assert probe.read(500).cpu_usage is None  # one look has no "between"
    write(root, {"proc/stat": stat(1016, 9004)})
    assert probe.read(510).cpu_usage == 80.0
    assert probe.read(510).cpus == 2.0


def test_a_look_that_is_too_short_gives_no_cpu_share(root: Path) -> None:
    probe = SystemProbe(root=str(root))
    probe.read(500)
    write(root, {"proc/stat": stat(2, 0)})
    assert probe.read(501).cpu_usage is None
    assert probe.read(509.9).cpu_usage is None
    assert probe.read(510).cpu_usage == 100.0


def test_the_cpu_share_forgets_what_is_older_than_its_window(root: Path) -> None:
    probe = SystemProbe(root=str(root))
    busy = idle = 0.0
    shares = []
    for now in range(0, 200, 10):
        write(root, {"proc/stat": stat(busy, idle)})
        shares.append(probe.read(float(now)).cpu_usage)
        busy, idle = (busy + 20, idle) if now >= 100 else (busy, idle + 20)
    assert shares[:11] == [None, *[0.0] * 10]
    # the window moves every 30 s, and then reaches back 30 s; before it moves, 50 s
    assert shares[11:] == [20.0, 66.67, 75.0, 80.0, *[100.0] * 5]
    assert all(earlier <= later for earlier, later in itertools.pairwise(shares[10:]))


def test_cpu_and_memory_are_shares_of_what_the_control_group_allows(root: Path) -> None:
    group = "sys/fs/cgroup/app"
    limits = {"cpu.max": "50000 100000\n", "cpu.stat": "usage_usec 0\nuser_usec 0\n", "memory.max": f"{512 * MIB}\n"}
    used = {"memory.current": f"{300 * MIB}\n", "memory.stat": f"anon 1\ninactive_file {44 * MIB}\n"}
    write(root, {f"{group}/{name}": text for name, text in (limits | used).items()})
    probe = SystemProbe(root=str(root))
    figures = probe.read(0)
    assert (figures.memory_used, figures.memory_total, figures.memory_usage) == (256 * MIB, 512 * MIB, 50.0)
    write(root, {"proc/stat": stat(20, 0), f"{group}/cpu.stat": "usage_usec 2500000\n"})
    figures = probe.read(10)
    assert (figures.cpus, figures.cpu_usage) == (0.5, 50.0)  # 2.5 s of the 5 s that half a CPU has in 10 s


def test_a_control_group_that_allows_more_than_there_is_does_not_count(root: Path) -> None:
    files = {"cpu.max": "800000 100000\n", "cpu.stat": "usage_usec 0\n"}
    files |= {"memory.max": f"{4096 * MIB}\n", "memory.current": "0\n"}
    write(root, {f"sys/fs/cgroup/app/{name}": text for name, text in files.items()})
    figures = SystemProbe(root=str(root)).read(0)
    assert (figures.cpus, figures.memory_total, figures.memory_usage) == (2.0, 1024 * MIB, 25.0)


def test_the_tightest_bound_among_a_group_and_those_above_it_counts(root: Path) -> None:
    write(
        root,
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/memory.current": "10\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
            "sys/fs/cgroup/a/memory.max": "1000\n",
            "sys/fs/cgroup/a/memory.current": "700\n",
            "sys/fs/cgroup/memory.max": "5000\n",
            "sys/fs/cgroup/memory.current": "100\n",
        },
    )
    group = ControlGroup(str(root))
    assert group.memory() == MemoryBound(700, 1000)
    assert group.cpu() is None


def test_control_groups_of_version_1_are_read_too_and_their_unlimited_is_no_limit(root: Path) -> None:
    write(
        root,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n",
            # in a container the group is mounted as the top, whatever its name outside is
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "2000000000\n",
        },
    )
    group = ControlGroup(str(root))
    assert group.memory() == MemoryBound(1000, 2000)
    assert group.cpu() == CpuBound(2.0, 1.5)
    write(
        root,
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        },
    )
    assert (group.memory(), group.cpu()) == (None, None)


def test_a_figure_that_cannot_be_read_is_unknown_and_told_and_the_others_are_there(root: Path) -> None:
    write(root, {"proc/stat": "nonsense\n"})
    (root / "proc/meminfo").unlink()
    figures = SystemProbe(disk_path="/no/such/disk", root=str(root)).read(0)
    assert (figures.cpu_usage, figures.memory_usage, figures.disk_usage) == (None, None, None)
    assert [problem.split(":")[0] for problem in figures.problems] == ["cpu", "memory", "disk"]
    assert figures.node == os.uname().nodename


def test_the_share_of_this_machines_disk_is_that_of_df() -> None:
    disk = os.statvfs("/")
    figures = SystemProbe().read(0)
    used = disk.f_blocks - disk.f_bfree
    assert figures.disk_usage == pytest.approx(100 * used / (used + disk.f_bavail), abs=1.0)
    assert figures.problems == ()


def test_this_machines_memory_is_a_share_and_its_cpus_are_counted() -> None:
    figures = SystemProbe().read(0)
    assert figures.memory_usage is not None
    assert 0 < figures.memory_usage < 100
    assert 0 < figures.memory_used < figures.memory_total
    assert figures.cpus > 0
