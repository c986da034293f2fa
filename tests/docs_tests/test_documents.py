"""The documents hold: links lead somewhere, commands and their options exist, and the code in them runs."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dspex_ray.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def found(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that these words lead to, through its groups, and the words left over."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_dspex_command_and_option_in_a_document_exists(document: Path) -> None:
    for line in "\n".join(blocks(document.read_text(encoding="utf-8"), "sh")).splitlines():
        if "dspex " not in line:
            continue
        command, words = found(shlex.split(line[line.index("dspex ") :].partition("#")[0])[1:])
        assert not hasattr(command, "commands") or not words or words[0].startswith("--"), line
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert not [word for word in words if word.startswith("--") and word not in known], line


def test_make_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z ]+)$", "\n".join(blocks(README, "sh")), flags=re.MULTILINE))
    assert {word for line in named for word in line.split()} <= targets


def test_the_readmes_program_is_optimised_and_answers_as_the_readme_says(tmp_path: Path) -> None:
    program, use = blocks(README, "python")
    (tmp_path / "route.py").write_text(program, encoding="utf-8")
    teams = {
        "billing": ("I was charged twice for order {}", "my card was billed wrongly, invoice {}"),
        "delivery": ("where is my parcel number {}", "parcel {} has not come yet"),
        "returns": ("I want to send item {} back", "how do I return article {}"),
    }
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["message", "team"])
        table.writerows([text.format(n), team] for team, texts in teams.items() for text in texts for n in range(8))
    local = use.replace('"train.csv")', '"train.csv", trials=6, runtime="in-process")')
    local = local.replace("to_agent_system()", 'to_agent_system(runtime="in-process")')
    assert local.count("in-process") == 2
    (tmp_path / "use.py").write_text("import dspex_ray as dspex\nfrom route import Route\n" + local, encoding="utf-8")
    done = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "delivery"), done.stderr


def test_the_code_of_the_agents_page_runs_as_one_script(tmp_path: Path) -> None:
    code = "\n".join(blocks((ROOT / "docs" / "agents.md").read_text(encoding="utf-8"), "python"))
    (tmp_path / "guide.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "guide.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "2 5",
        "Agent 'counter' ended: asked to crash.",
        "1",
        "101",
        "counter idle 1",
        "counter-0 idle 0",
    ]


def test_the_code_of_the_search_page_runs_as_one_script(tmp_path: Path) -> None:
    code = "\n".join(blocks((ROOT / "docs" / "search.md").read_text(encoding="utf-8"), "python"))
    (tmp_path / "guide.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "guide.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "temperature", "max_tokens, window", "40 large"]


def test_the_code_of_the_programs_page_runs_as_one_script(tmp_path: Path) -> None:
    code = "\n".join(blocks((ROOT / "docs" / "programs.md").read_text(encoding="utf-8"), "python"))
    (tmp_path / "guide.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "guide.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
