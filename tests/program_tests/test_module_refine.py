"""Refine over real HTTP: each try is told what was wrong with the last one, in whichever part it is to blame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sampled_models import BAD, longer, replies, run_on, served, told

import dspex_ray as dspex
from dspex_ray.calls import recording
from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.lm.base import ChatMessage
from dspex_ray.modules.refine import Refine
from dspex_ray.modules.samples import sampling
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program_ref import program_from_state
from dspex_ray.prompting.advice import advised, with_advice

Messages = Sequence[Mapping[str, Any]]


class Story(dspex.Program):
    """Write a story of one word."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    plan = dspex.Predict("question -> idea")
    write = dspex.Predict("idea -> answer", temperature=dspex.Float(0.0, 1.0, default=0.3))

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        """Plan, then write."""
        planned = await self.plan(question=input.question)
        return self.Output(answer=(await self.write(idea=planned.idea)).answer)


class Refined(Refine):
    program = Story()
    metric = told
    critic = True
    n = dspex.Int(1, 5, default=2)


def advice(**parts: str) -> str:
    return json.dumps({"advice": [{"part": part, "advice": text} for part, text in parts.items()]})


def storyteller(critique: str, seen: list[tuple[str, str]]) -> Any:
    """Return a rule that writes `four` when it is told to, and keeps what each part was shown at the end."""

    def rule(messages: Messages, _: Mapping[str, Any]) -> str:
        asked = str(messages[-1]["content"])
        if '"advice"' in messages[0]["content"]:
            seen.append(("critic", asked))
            return critique
        part = "plan" if '"idea"' in messages[0]["content"] else "write"
        seen.append((part, asked))
        if part == "plan":
            return json.dumps({"idea": "a number"})
        return json.dumps({"answer": "four" if "in words" in asked else "4"})

    return rule


def test_a_further_try_is_told_the_last_answer_its_score_and_the_feedback() -> None:
    shown: list[str] = []

    def rule(messages: Messages, _: Mapping[str, Any]) -> str:
        shown.append(str(messages[-1]["content"]))
        return json.dumps({"answer": "four" if "in words" in shown[-1] else "4"})

    with sampling() as log:
        output, asked = run_on(Refine("question -> answer", metric=told), rule, question="2 + 2?")
    assert (output.answer, asked) == ("four", 2)
    feedback = (
        "An earlier try ended with this answer:\n4\nIt scored 0.25 of 1, which is not enough. Give a better one.\n"
        "'4' is not written in words."
    )
    assert shown == ["2 + 2?", f"2 + 2?\n\n{feedback}"]
    assert [one.advice for one in log.samples] == [None, feedback]


def test_the_best_output_is_kept_when_none_will_do() -> None:
    output, asked = run_on(Refine("question -> answer", n=3, metric=longer), replies("ab", "abc", "a"), question="?")
    assert (output.answer, asked) == ("abc", 3)


def test_the_parts_of_a_program_are_told_and_the_critic_advises_them_one_by_one() -> None:
    seen: list[tuple[str, str]] = []
    critique = advice(**{"program.write": "Spell it.", "program.plot": "Nobody hears this.", "program": "Be brief."})
    output, asked = run_on(Refined(), storyteller(critique, seen), question="2 + 2?")
    assert (output.answer, asked) == ("four", 5)
    assert [part for part, _ in seen] == ["plan", "write", "critic", "plan", "write"]
    again = dict(seen[3:])
    assert "'4' is not written in words.\nBe brief." in again["plan"]
    assert "Spell it" not in again["plan"]
    assert again["write"].endswith("'4' is not written in words.\nBe brief.\n\nSpell it.")
    assert not any("Nobody hears this" in text for _, text in seen)
    critic = dict(seen)["critic"]
    assert "program: Write a story of one word." in critic
    assert "program.plan: Given question, answer with idea." in critic
    assert "question: 2 + 2?" in critic
    assert "score: 0.25" in critic


def test_advice_that_never_becomes_valid_is_done_without() -> None:
    seen: list[tuple[str, str]] = []
    output, _ = run_on(Refined(), storyteller(BAD, seen), question="?")
    assert output.answer == "four"
    assert [part for part, _ in seen] == ["plan", "write", "critic", "critic", "plan", "write"]


def test_a_try_without_a_valid_output_is_told_so_and_all_of_them_are_an_error() -> None:
    program = Refine("question -> answer", metric=told, n=2)
    with served([BAD, BAD, '{"answer": "four"}']) as (server, lm), sampling() as log:
        assert program.with_lm(lm).run(question="?").answer == "four"
        assert "An earlier try ended without a valid answer" in server.last_body["messages"][-1]["content"]
    assert log.samples[0].error is not None
    with pytest.raises(OutputError, match="gave no valid output"):
        run_on(program, [BAD] * 4, question="?")


def test_a_critic_of_your_own_is_asked_for_what_its_input_has() -> None:
    critic = dspex.Predict("answer, feedback -> advice")
    program = Refine("question -> answer", metric=told, critic=critic)
    with served([*replies("4"), '{"advice": "Use letters."}', *replies("four")]) as (server, lm), recording() as log:
        assert program.with_lm(lm).run(question="?").answer == "four"
        assert server.last_body["messages"][-1]["content"].endswith("words.\nUse letters.")
    assert [call.module for call in log.records] == ["program", "critic", "program"]


def test_the_variables_of_program_and_critic_are_found_by_path() -> None:
    assert set(Refined().space().names) == {
        "n",
        "program.plan.demos",
        "program.write.demos",
        "program.write.temperature",
    }
    program = Refine(
        "q -> answer", metric=told, critic=dspex.Predict("answer -> advice", model=dspex.Choice(["a", "b"]))
    )
    assert "critic.model" in program.space().names


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"critic": "strict"}, "critic is True, or a program of answer, feedback"),
        ({"critic": dspex.Predict("mood -> advice")}, "critic asks for mood; its Input may have answer, feedback"),
        ({"critic": dspex.Predict("answer -> verdict")}, "has no Output field `advice`"),
        ({"concurrent": True}, "Unknown setting of Refine 'concurrent'"),
        ({"metric": None}, "metric is a function"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_when_it_is_made(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint):
        Refine("question -> answer", **{"metric": told, **settings})


def test_concurrent_tries_are_refused_in_a_class_too() -> None:
    with pytest.raises(ProgramError, match="each try learns from the one before"):

        class AtOnce(Refine):
            program = Story()
            metric = told
            concurrent = True


@pytest.mark.parametrize("program", [Refined(), Refine(Story(), metric=told, critic=True, n=2)])
def test_it_is_the_same_after_a_journey_and_from_its_state(program: Refine) -> None:
    tuned = program.with_values({"program.write.temperature": 0.8})
    journeys: list[Any] = [Parcel.of(tuned).open(), program_from_state(tuned.state())]
    for again in journeys:
        assert (again.path, again.values) == (tuned.path, tuned.values)
        seen: list[tuple[str, str]] = []
        output, asked = run_on(again, storyteller(advice(program="Try."), seen), question="?")
        assert (output.answer, asked) == ("four", 5)


def test_advice_reaches_its_place_and_those_within_it_the_outer_first() -> None:
    messages = (ChatMessage("system", "s"), ChatMessage("user", "u"))
    with advised({"a": "outer", "a.b": "exact"}), advised({"a.b": "inner", "": "everywhere"}):
        assert with_advice(messages, "a.b.c")[-1].content == "u\n\nouter\n\nexact\n\neverywhere\n\ninner"
        assert with_advice(messages, "a.bc")[-1].content == "u\n\nouter\n\neverywhere"
        assert with_advice(messages, "")[-1].content == "u\n\neverywhere"
        assert with_advice(messages, "a.b")[0] == messages[0]
    assert with_advice(messages, "a.b") == messages
