"""What the tests of `dspex agents` share: systems held by the test, ways to run the command, trees made by hand."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sample_agents import Echo

from dspex_agents import Agent, ChildSpec, SupervisorSpec, System, SystemSpec
from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.errors import RuntimeUnavailableError
from dspex_ray.cli import main

ROOT = Path(__file__).resolve().parents[2]
DSPEX = Path(sys.executable).with_name("dspex")


class Held:
    """Systems that this test holds, in place of those of a cluster."""

    def __init__(self, *systems: System) -> None:
        self._systems = {system.name: system for system in systems}

    def names(self) -> list[str]:
        return list(self._systems)

    def find(self, name: str) -> System:
        if name not in self._systems:
            raise RuntimeUnavailableError(f"No system named {name!r} runs here.")
        return self._systems[name]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


def run_agents(capsys: pytest.CaptureFixture[str], words: str | list[str], *systems: System) -> Said:
    """Run `dspex agents WORDS` in this process, on these systems."""
    capsys.readouterr()
    code = main._run(["agents", *(words.split() if isinstance(words, str) else words)], Held(*systems))
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


def typed(address: str, *words: str, folder: Path = ROOT) -> Said:
    """Run the command as a user does, in a process of its own."""
    command = [DSPEX, "agents", *words, "--address", address]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def refused(said: Said, text: str, code: int = 2) -> None:
    assert (said.code, said.out) == (code, ""), said
    assert text in said.err
    assert "Traceback" not in said.err


class Teller(Agent):
    """Passes on what it is sent, as (name, message)."""

    async def on_message(self, body: Any) -> None:
        await self.context.tell(*body)


def shop(name: str = "shop") -> SystemSpec:
    team = SupervisorSpec(
        id="team",
        strategy="one_for_all",
        children=(ChildSpec(id="w1", start=Echo, capabilities=frozenset({"sums"})), ChildSpec(id="w2", start=Echo)),
    )
    return SystemSpec(
        name=name, supervisor=SupervisorSpec(id="top", children=(ChildSpec(id="front", start=Echo), team))
    )


def leaf(name: str, status: str = "idle", *, restarts: int = 0, reason: str = "", **figures: Any) -> TreeNode:
    values = {"mailbox": 0, "in_flight": 0, "handled": 0, "failed": 0, "mailbox_size": 1000, "kind": "Echo"} | figures
    told = AgentStatus(name=name, epoch=1, status=status, started_at=0.0, idle_s=0.0, **values)
    place = {"host": "shared@1", "pid": 4711, "memory_bytes": 98 * 1024**2, "node": "0123456789abcdef"}
    return TreeNode(name, "agent", status, restarts, reason, agent=told, **place)


def top(*children: TreeNode, id_: str = "top", status: str = "running") -> TreeNode:
    return TreeNode(id_, "supervisor", status, children=children, strategy="one_for_one")


def printed(renderable: Any, width: int = 200, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text
