"""A program with a cache: equal questions are asked once, evaluations too, and the bill shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.configuration import chosen_cache, configure
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LMReply, LMRequest, Usage
from dspex_ray.parcel import Parcel


class Yes:
    """Answers yes and counts."""

    model = "test/yes"

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, request: LMRequest) -> LMReply:
        self.calls += 1
        return LMReply(text='{"answer": "yes"}', model=self.model, usage=Usage(prompt_tokens=5), cost_usd=0.1)

    def stream(self, request: LMRequest) -> object:
        raise NotImplementedError

    async def aclose(self) -> None: ...


class Asker(dspex.Program):
    """Answer the question."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str


def test_an_equal_question_is_asked_once_and_the_second_call_is_marked() -> None:
    lm = Yes()
    program = Asker().with_lm(lm).with_cache("memory")
    with recording() as log:
        assert program.run(question="why?").answer == program.run(question="why?").answer
    assert lm.calls == 1
    assert [(r.status, r.cost_usd, r.prompt_tokens) for r in log.records] == [("ok", 0.1, 5), ("cached", 0.0, 0)]


def test_without_a_cache_every_question_is_asked() -> None:
    lm = Yes()
    program = Asker().with_lm(lm)
    program.run(question="why?")
    program.run(question="why?")
    program.with_cache("off").run(question="why?")
    assert lm.calls == 3


def test_an_evaluation_repeated_costs_nothing(tmp_path: Path) -> None:
    lm = Yes()
    program = Asker().with_lm(lm).with_cache(str(tmp_path))
    rows = [{"question": f"q{number}", "answer": "yes"} for number in range(20)]
    first, second = dspex.evaluate(program, rows), dspex.evaluate(program, rows)
    assert (first.mean, second.mean, lm.calls) == (1.0, 1.0, 20)
    assert (first.cost_usd, second.cost_usd) == (pytest.approx(2.0), 0.0)


def test_the_cache_of_this_process_travels_with_a_program_that_is_sent_away(tmp_path: Path) -> None:
    configure(cache=str(tmp_path))
    try:
        sent = Parcel.of(Asker().with_defaults())
    finally:
        configure(cache=None)
    assert chosen_cache(sent.open()._source.cache).path == tmp_path


def test_the_environment_names_a_cache_and_configure_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPEX_CACHE", "memory")
    assert chosen_cache().kind == "memory"
    configure(cache="off")
    try:
        assert chosen_cache().kind == "off"
    finally:
        configure(cache=None)


def test_configure_leaves_what_is_not_given_and_refuses_what_is_no_cache() -> None:
    configure(lm="openai/some-model")
    try:
        configure(cache="memory")
        assert Asker().with_defaults().lm_name == "openai/some-model"
        with pytest.raises(ConfigurationError, match="cache must be 'off', 'memory', 'disk'"):
            configure(cache=3)  # type: ignore[arg-type]
    finally:
        configure(lm=None, cache=None)


def test_limits_and_cache_stay_when_the_model_changes() -> None:
    program = Asker().with_limits(dspex.LMLimits(concurrency=3)).with_cache("memory").with_lm("openai/other")
    assert (program._source.limits, program._source.cache) == (
        dspex.LMLimits(concurrency=3),
        chosen_cache(program._source.cache),
    )
    assert program.with_defaults()._source.limits == dspex.LMLimits(concurrency=3)
    with pytest.raises(ConfigurationError, match="limits must be LMLimits"):
        program.with_limits(3)  # type: ignore[arg-type]
