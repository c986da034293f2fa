"""`deploy/endpoint.sh`, run by a real shell, with a program named `dspex` that tells what it was asked."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.deploy_files import DEPLOY

DSPEX = """#!/bin/sh
[ "$1" = deploy ] || exit 0
trap 'echo stopped >> "$TOLD"; exit 3' TERM
echo "$@" >> "$TOLD"
case "$*" in *ends*) exit 7;; esac
while :; do sleep 0.05; done
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "dspex"
    program.write_text(DSPEX, encoding="utf-8")
    program.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TOLD": str(tmp_path / "told")}


def told(environment: dict[str, str]) -> list[str]:
    path = Path(environment["TOLD"])
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_the_script_ends_as_dspex_deploy_ends_and_passes_its_words_on(environment: dict[str, str]) -> None:
    words = [DEPLOY / "endpoint.sh", "m:Ends", "--name", "it ends"]
    assert subprocess.run(words, check=False, env=environment, timeout=20).returncode == 7
    assert told(environment) == ["deploy m:Ends --name it ends"]


def test_sigterm_stops_dspex_deploy_in_order_and_is_waited_for(environment: dict[str, str]) -> None:
    script = subprocess.Popen([DEPLOY / "endpoint.sh", "m:Stays"], env=environment)
    deadline = time.monotonic() + 10
    while not told(environment) and time.monotonic() < deadline:
        time.sleep(0.01)
    script.send_signal(signal.SIGTERM)
    assert script.wait(timeout=10) == 3
    assert told(environment) == ["deploy m:Stays", "stopped"]
