"""A cluster as an operator starts it: `ray start` with token auth, nodes of their own processes; and its sure end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class RayHead:
    """Where the cluster answers, and the environment a command needs to be let in."""

    address: str
    dashboard: str
    environment: dict[str, str]
    session: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def ray_head(folder: Path, **environment: str) -> Iterator[RayHead]:
    """Start a head node in `folder` and end all of its processes afterwards. `environment` is added to the node's."""
    session = Path(tempfile.mkdtemp(prefix="dspx-", dir="/tmp"))
    token = session / "token"
    token.write_text(secrets.token_hex(32), encoding="ascii")
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), **environment}
    env["PATH"] = f"{BIN}{os.pathsep}{env['PATH']}"
    port, dashboard = free_port(), free_port()
    command = [str(BIN / "ray"), "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=4"]
    command += [*node_options(), f"--temp-dir={session}"]
    log = (session / "start.log").open("wb")
    head = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{dashboard}"
        await_dashboard(url, head, session / "start.log")
        await_job_agent(url, env)
        yield RayHead(f"127.0.0.1:{port}", url, env, session)
    finally:
        head.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(15)
        log.close()
        end_processes_of(str(session))
        shutil.rmtree(session, ignore_errors=True)


def node_options() -> list[str]:
    """Return what the head and every further node need on a machine that has several."""
    # another node on this machine holds the defaults of these, and an agent without its port takes no jobs
    own_ports = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
    ports = [f"--{name}={free_port()}" for name in own_ports]
    return [*ports, "--object-store-memory=100000000", "--disable-usage-stats", "--block"]


def start_node(head: RayHead, name: str, cpus: int) -> str:
    """Let one more node join, with `cpus` and one resource of its name; two at once would take each other's files.

    Returns the mark in the environment of its processes, by which `end_processes_of` ends them. It ends with the head.
    """
    mark = f"{name}-{secrets.token_hex(8)}"
    command = [str(BIN / "ray"), "start", f"--address={head.address}", f"--num-cpus={cpus}", *node_options()]
    command += ["--resources", json.dumps({name: 1})]
    environment = {**head.environment, "DSPEX_TEST_NODE": mark}
    log = head.session / f"{name}.log"
    with log.open("wb") as written:
        node = subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while b"Ray runtime started" not in log.read_bytes():
        if node.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"node {name} did not join: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    return mark


def await_dashboard(url: str, head: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and head.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/api/version", timeout=2).close()
        except urllib.error.HTTPError:
            return  # it answers, if only to refuse us without a token
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no dashboard at {url}: {log.read_text(errors='replace')[-2000:]}")


def await_job_agent(url: str, env: dict[str, str]) -> None:
    """Wait until the head takes jobs: its job agent registers some seconds after the dashboard answers."""
    command = [str(BIN / "ray"), "job", "submit", "--address", url, "--no-wait", "--", "true"]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the head takes no jobs: {done.stderr[-2000:]}")


def processes_with(mark: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and words of each process that has the mark, such as a private folder, in words or environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            if mark.encode() in words + (entry / "environ").read_bytes():
                yield int(entry.name), words.decode(errors="replace").rstrip("\0").split("\0")


def end_processes_of(mark: str) -> None:
    """Kill every process that has the mark, and nothing else."""
    for number, _ in processes_with(mark):
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)


def works(mark: str) -> bool:
    """Say whether an agent of the node with this mark is at work: Ray titles a process by what it does."""
    raylets = [number for number, words in processes_with(mark) if words[0].endswith("/raylet")]
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith(b"ray::HostActor.deliver_packed"):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent in raylets:
                    return True
    return False
