"""The files of `deploy/`, read strictly: a key that stands twice in a YAML mapping is an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from dspex_ray.cli.main import app

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def tool(name: str) -> str | None:
    """Return the path of a program, installed beside this Python or on the PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def told(words: Sequence[str | Path], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, 60 s at most, whatever its exit code."""
    return subprocess.run(words, check=False, capture_output=True, text=True, env=env, timeout=60)


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys stand twice: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(text: str) -> list[Any]:
    """Return the YAML documents in a text, without empty ones."""
    return [each for each in yaml.load_all(text, Loader=_StrictLoader) if each is not None]


def strings(value: Any) -> Iterator[str]:
    """Go through all strings of a document, keys excepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def unknown_words(words: list[str]) -> list[str]:
    """Return what the command line would not know of `dspex WORDS`: a command's name, or options."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            return words[:1] or ["(no command)"]
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
