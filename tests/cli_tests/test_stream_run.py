"""`dspex run --stream`: the model's words on the screen, or a line of JSON for each piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dspex_ray.testing.model_server import ModelServer

BAD, GOOD = '{"intent": "crad"}', 'It is {"intent": "card"}'
RUN = ("run", "shop:Route", "message=hi", "--lm", "openai/simulated", "--stream")


@pytest.fixture
def spoken(dspex: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return what runs the command with a model that gives these replies."""

    def run(*replies: str, words: tuple[str, ...] = ()) -> Any:
        with ModelServer(answer=replies) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            return dspex(*RUN, *words)

    return run


def test_the_words_of_the_model_stand_before_the_output(spoken: Any) -> None:
    said = spoken(GOOD)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[:2] == [f"the model: {GOOD}", "intent: card"]


def test_a_second_reply_stands_on_a_line_of_its_own(spoken: Any) -> None:
    lines = spoken(BAD, GOOD).out.splitlines()
    assert lines[:3] == [f"the model: {BAD}", f"that was no valid answer; again: {GOOD}", "intent: card"]


def test_with_json_each_piece_is_an_object_and_the_last_line_is_that_of_run(spoken: Any) -> None:
    said = spoken(GOOD, words=("--json",))
    *pieces, last = map(json.loads, said.out.splitlines())
    assert "".join(piece["delta"] for piece in pieces) == GOOD
    assert pieces[-1]["partial"] == last["output"] == {"intent": "card"}
    assert last["calls"] == 1


def test_an_error_in_the_middle_is_told_like_any_other(spoken: Any) -> None:
    said = spoken(BAD, "nothing")
    assert said.code == 1
    assert "gave no valid output" in said.err
