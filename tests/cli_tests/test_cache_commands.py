"""`dspex cache`: what is kept, one entry whole, pruning and clearing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.cli import main
from dspex_ray.lm.base import ChatMessage, LMReply, LMRequest
from dspex_ray.lm.cache import CachedReply, DiskCache


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    cache = DiskCache(tmp_path / "replies")
    for number in range(3):
        request = LMRequest(messages=(ChatMessage("user", f"question {number}"),))
        cache.put(CachedReply.of(f"{number:064x}"[::-1], request, LMReply(text=f"answer {number}", model="m"), 60.0))
    return tmp_path / "replies"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main._run(["cache", *words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_show_counts_and_lists(capsys: pytest.CaptureFixture[str], filled: Path) -> None:
    code, found = run(capsys, "show", "--folder", str(filled), "--limit", "2")
    assert (code, found["entries"], len(found["listed"])) == (0, 3, 2)
    assert found["bytes"] > 500
    assert main._run(["cache", "show", "--folder", str(filled)]) == 0
    text = capsys.readouterr().out
    assert "3 replies" in text
    assert "answer 2" in text


def test_show_gives_one_entry_with_its_request(capsys: pytest.CaptureFixture[str], filled: Path) -> None:
    _, entry = run(capsys, "show", "200000", "--folder", str(filled))
    assert (entry["text"], entry["request"]["messages"][0]["content"]) == ("answer 2", "question 2")
    code, found = run(capsys, "show", "20", "--folder", str(filled))
    assert (code, found["error"]["message"]) == (
        2,
        "An entry is named by at least 6 hex digits of its key, got '20'.",
    )
    code, found = run(capsys, "show", "ffffff", "--folder", str(filled))
    assert code == 2
    assert "No entries of" in found["error"]["message"]


def test_prune_and_clear_remove(capsys: pytest.CaptureFixture[str], filled: Path) -> None:
    assert run(capsys, "prune", "--max-mib", "0.0006", "--folder", str(filled)) == (0, {"removed": 2})
    assert run(capsys, "clear", "--yes", "--folder", str(filled)) == (0, {"removed": 1})
    assert run(capsys, "show", "--folder", str(filled))[1]["entries"] == 0


def test_a_folder_that_is_not_there_says_how_to_keep_replies(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, found = run(capsys, "show", "--folder", str(tmp_path / "none"))
    assert code == 2
    assert "DSPEX_CACHE=disk" in found["error"]["message"]
