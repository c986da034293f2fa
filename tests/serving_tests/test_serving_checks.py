"""What is checked before anything is started: names, addresses, ports, and the environment of the mode."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dspex_ray.errors import ConfigurationError
from dspex_ray.serving import mode
from dspex_ray.serving.address import HttpAddress, check_name, check_replicas, free_port, loopback, same_address

PORTS = mode.FrontPorts(stats=1, metrics=2, fallback=3)


@pytest.mark.parametrize("name", ["route", "a", "Route-2_x", "9lives", "x" * 63])
def test_url_safe_names_are_taken(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "_a", "ä", "a?", "x" * 64, "a\n", "..", "-"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be an endpoint's name"):
        check_name(name)


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("127.8.9.1", "127.8.9.1"), ("localhost", "127.0.0.1")]
)
def test_loopback_hosts_are_taken(host: str, address: str) -> None:
    assert loopback(host) == address


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "::1", "192.168.1.4", "example.com", "127.1", "8.8.8.8"])  # noqa: S104 - refused
def test_any_other_host_is_refused_because_nothing_authenticates(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no authentication yet.*127\.0\.0\.1"):
        loopback(host)


@pytest.mark.parametrize("replicas", [(0, 4), (2, 1), (-1, 1)])
def test_impossible_numbers_of_replicas_are_refused(replicas: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="fewest"):
        check_replicas(replicas)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"Port {port} on 127\.0\.0\.1 cannot be used.*port=0"):
            free_port(HttpAddress("127.0.0.1", port))


def test_port_0_finds_a_free_one_and_a_free_one_is_kept() -> None:
    port = free_port(HttpAddress("127.0.0.1", 0))
    assert port > 0
    assert free_port(HttpAddress("127.0.0.1", port)) == port


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"Port {port}"):
        free_port(HttpAddress("127.0.0.1", port))


def test_a_running_serve_is_joined_only_at_its_own_address() -> None:
    running = HttpAddress("127.0.0.1", 8000)
    assert same_address(running, HttpAddress("127.0.0.1", 8000)) == running
    assert same_address(running, HttpAddress("127.0.0.1", 0)) == running
    for other in (HttpAddress("127.0.0.1", 8001), HttpAddress("127.0.0.2", 8000)):
        with pytest.raises(ConfigurationError, match=r"already runs in this cluster on 127\.0\.0\.1:8000"):
            same_address(running, other)


def test_a_running_serve_that_is_reachable_from_outside_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0:8000, which is not loopback"):
        same_address(HttpAddress("0.0.0.0", 8000), HttpAddress("127.0.0.1", 8000))  # noqa: S104 - refused


@pytest.mark.parametrize(("cpus", "threads"), [(1, "1"), (2, "1"), (7, "1"), (8, "2"), (64, "16")])
def test_small_machines_get_one_proxy_thread(cpus: int, threads: str) -> None:
    found = mode.serve_environment(folder="/f", ports=PORTS, cpus=cpus, file_limit=20_000)
    assert found["RAY_SERVE_HAPROXY_NBTHREAD"] == threads


@pytest.mark.parametrize(("files", "connections"), [(64, "256"), (1024, "399"), (20_000, "7800"), (1_000_000, "16384")])
def test_connections_stay_within_what_the_open_files_allow(files: int, connections: str) -> None:
    found = mode.serve_environment(folder="/f", ports=PORTS, cpus=2, file_limit=files)
    assert found["RAY_SERVE_HAPROXY_MAXCONN"] == connections


def test_the_environment_turns_the_mode_on_and_keeps_all_files_in_the_folder() -> None:
    found = mode.serve_environment(folder="/private", ports=PORTS, cpus=2, file_limit=20_000)
    assert (found["RAY_SERVE_ENABLE_HA_PROXY"], found["RAY_SERVE_THROUGHPUT_OPTIMIZED"]) == ("1", "1")
    assert all(isinstance(value, str) for value in found.values())
    paths = [value for value in found.values() if "/" in value]
    assert len(paths) == 5
    assert all(path.startswith("/private") for path in paths)


def test_the_private_folder_leaves_room_for_the_sockets_path() -> None:
    for temporary in ("/tmp", "/var/folders/" + "x" * 60):  # noqa: S108 - only lengths matter
        folder = mode.private_folder(temporary, 1_000_000, 65_535)
        assert len(f"{folder}/{'n' * 56}/metrics.sock") <= 107


def test_a_folder_is_made_for_its_user_alone_also_when_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "serve"
    folder.mkdir(mode=0o777)
    for _ in range(2):
        mode.make_private(folder, os.getuid())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_somebody_else_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="another user"):
        mode.make_private(tmp_path / "link", os.getuid())
    with pytest.raises(ConfigurationError, match="another user"):
        mode.make_private(tmp_path, os.getuid() + 1)


def test_what_serves_without_ray_loads_neither_ray_nor_litellm() -> None:
    names = "parcel calls.buffer serving.application serving.edge serving.endpoint serving.mode serving.program_service"
    imports = "; ".join(f"import dspex_ray.{name}" for name in names.split())
    code = f"import sys; {imports}; print(sorted({{'ray', 'litellm'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "[]"
