"""A folder as a user has it: a module with programs, data files, no store yet; and ways to run the command there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.cli import main

DSPEX = Path(sys.executable).with_name("dspex")
_CLEARED = ("DSPEX_LM", "DSPEX_STORE", "RAY_ADDRESS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY")
_PROGRAMS = '''
import asyncio
from typing import Literal

import dspex_ray as dspex


class Route(dspex.Program):
    """Say what the message is about."""

    class Input(dspex.Schema):
        message: str
        stars: int = 3

    class Output(dspex.Schema):
        intent: Literal["card", "cash", "rate"]

    demos = dspex.Demos(max=8)


class Slow(Route):
    async def predict(self, input):
        await asyncio.sleep(0.25)
        return await super().predict(input)


class Stops(Route):
    async def predict(self, input):
        if input.message.endswith(("17", "18", "19")):
            raise dspex.UsageError("The index of cards is not there; build it first.")
        return await super().predict(input)


class Fixed(dspex.Program):
    """Say what the message is about."""

    class Input(dspex.Schema):
        message: str

    class Output(dspex.Schema):
        intent: Literal["card", "cash", "rate"]


class Own(Fixed):
    async def predict(self, input):
        raise ZeroDivisionError("no messages yet")


class Mapped(Route):
    columns = {"message": "text", "intent": "category"}


class Plain:
    pass


made = Fixed()
'''
_THEMES = {
    "card": ["my card is lost", "a new card please", "the card is blocked", "it was swallowed"],
    "cash": ["withdraw money", "the machine ate notes", "no cash at the atm", "a fee for notes"],
    "rate": ["exchange today", "this conversion is wrong", "what rate applies", "euros into pounds"],
}


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output; fails on anything more or less."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Run = Callable[..., Said]


def rows() -> list[tuple[str, str]]:
    return [(f"{text} {i}", label) for i in range(20) for label, texts in _THEMES.items() for text in texts]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the user's folder, made the current one; modules imported from it are forgotten afterwards."""
    for name in _CLEARED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    (tmp_path / "shop.py").write_text(_PROGRAMS, encoding="utf-8")
    lines = "".join(f"{text},{label}\n" for text, label in rows())
    (tmp_path / "rows.csv").write_text(f"message,intent\n{lines}", encoding="utf-8")
    (tmp_path / "renamed.csv").write_text(f"text,category\n{lines}", encoding="utf-8")
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def dspex(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process: fast, and without Ray."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = main._run(list(words))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def shell(folder: Path) -> Run:
    """Return a function that runs a command as a user does, in a process of its own."""

    def run(*words: str, timeout_s: float = 60.0, **variables: str) -> Said:
        done = subprocess.run(
            [DSPEX, *words],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], str]:
    """Return a function that writes a file in the user's folder and gives its name."""

    def put(name: str, text: str) -> str:
        (folder / name).write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return name

    return put
