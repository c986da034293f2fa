"""Wrong names and types are errors in an editor: both type checkers flag exactly the lines marked so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

USAGE = Path(__file__).parent / "typed_usage.py"
ROOT = Path(__file__).parents[2]


def marked() -> list[int]:
    lines = USAGE.read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]


@pytest.mark.timeout(300)
def test_mypy_flags_exactly_the_wrong_lines() -> None:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--show-error-end", str(USAGE)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False).stdout
    found = {int(line) for line in re.findall(r"typed_usage\.py:(\d+):.* error: ", said)}
    assert sorted(found) == marked(), said


@pytest.mark.timeout(300)
def test_pyright_flags_exactly_the_wrong_lines() -> None:
    command = [str(Path(sys.executable).with_name("pyright")), "--outputjson", str(USAGE)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False).stdout
    found = json.loads(said)["generalDiagnostics"]
    errors = {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}
    assert sorted(errors) == marked(), [(one["range"]["start"]["line"] + 1, one["message"]) for one in found]
