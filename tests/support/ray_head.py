"""A cluster as an operator starts it: `ray start --head` with token auth in its own processes; and its certain end."""

from __future__ import annotations

import contextlib
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
    # another cluster on this machine holds the defaults of these, and an agent without its port takes no jobs
    own_ports = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
    command += [f"--{name}={free_port()}" for name in own_ports]
    command += ["--object-store-memory=150000000", f"--temp-dir={session}", "--disable-usage-stats", "--block"]
    log = (session / "start.log").open("wb")
    head = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{dashboard}"
        await_dashboard(url, head, session / "start.log")
        await_job_agent(url, env)
        yield RayHead(f"127.0.0.1:{port}", url, env)
    finally:
        head.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(15)
        log.close()
        end_processes_of(session)
        shutil.rmtree(session, ignore_errors=True)


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


def end_processes_of(session: Path) -> None:
    """Kill what the head left: every process that names its private folder, and nothing else."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if str(session).encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)
