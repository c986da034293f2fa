"""Ensemble and MultiChainComparison over real HTTP: several answers become one by a vote, or by looking at them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sampled_models import BAD, run_on

import dspex_ray as dspex
from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.modules.ensemble import Ensemble
from dspex_ray.modules.multi_chain_comparison import MultiChainComparison
from dspex_ray.modules.samples import sampling
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program_ref import program_from_state

Messages = Sequence[Mapping[str, Any]]


def by_temperature(**answers: str) -> Any:
    """Return a rule that answers by the temperature it is asked at: `at0=...`, `at1=...`, `at2=...`."""

    def rule(_: Messages, body: Mapping[str, Any]) -> str:
        answer = answers[f"at{body.get('temperature', 0):.0f}"]
        return BAD if answer == "-" else json.dumps({"answer": answer})

    return rule


def members(**settings: Any) -> dict[str, Any]:
    made = {"a": "question -> answer", "b": "question -> answer", "c": "question -> answer"}
    return {name: dspex.Predict(made[name], temperature=float(at), **settings) for at, name in enumerate(made)}


class Three(Ensemble):
    programs = members()


@pytest.mark.parametrize(
    ("answers", "winner", "votes"),
    [("xyy", "y", 2), ("xyz", "x", 1), ("xx-", "x", 2), ("-yz", "y", 1), ("1,2", "1", 1)],
)
def test_the_answer_that_most_programs_give_is_kept(answers: str, winner: str, votes: int) -> None:
    rule = by_temperature(at0=answers[0], at1=answers[1], at2=answers[2])
    with sampling() as log:
        output, _ = run_on(Three(), rule, question="?")
    assert (output.answer, log.votes[0].votes, log.votes[0].samples) == (winner, votes, 3)
    assert isinstance(output, Three.Output)


def test_programs_that_all_fail_are_an_error() -> None:
    with pytest.raises(OutputError, match="gave no valid output"):
        run_on(Three(), by_temperature(at0="-", at1="-", at2="-"), question="?")


def test_outputs_of_another_form_cannot_be_counted() -> None:
    with pytest.raises(ProgramError, match="program 'b' answers with rating, and the first one with answer"):
        Ensemble({"a": "q -> answer", "b": "q -> rating"})
    program = Ensemble({"a": dspex.ChainOfThought("q -> answer"), "b": dspex.ChainOfThought("q -> answer")})
    assert program.unlabelled == {"reasoning"}
    assert set(program.space().names) == {"programs.a.demos", "programs.b.demos"}


@pytest.mark.parametrize("program", [Three(), Ensemble(members())])
def test_an_ensemble_is_the_same_after_a_journey_and_from_its_state(program: Ensemble) -> None:
    journeys: list[Any] = [Parcel.of(program).open(), program_from_state(program.state())]
    for again in journeys:
        assert (again.path, again.values) == (program.path, program.values)
        assert run_on(again, by_temperature(at0="x", at1="y", at2="y"), question="?")[0].answer == "y"


class Compared(MultiChainComparison):
    program = dspex.ChainOfThought("question -> answer", temperature=dspex.Float(0.0, 1.0, default=0.0))


def thoughts(*answers: str) -> Any:
    """Return a rule that gives these answers in turn, and at the end the attempt it is shown second."""
    left = list(answers)

    def rule(messages: Messages, _: Any) -> str:
        asked = str(messages[-1]["content"])
        if "Compare them" in asked:
            second = asked.partition("Attempt 2:\n")[2]
            return json.dumps({"reasoning": asked, "answer": second.partition("answer: ")[2].partition("\n")[0]})
        answer = left.pop(0)
        return json.dumps({"reasoning": f"I think {answer}", "answer": answer})

    return rule


def test_attempts_that_differ_are_compared_with_their_reasoning() -> None:
    output, asked = run_on(Compared(), thoughts("4", "5", "6"), question="2 + 2?")
    assert asked == 4
    assert output.answer in {"4", "5", "6"}
    assert all(f"I think {answer}" in output.reasoning for answer in "456")
    assert output.reasoning.startswith("2 + 2?\n\nSeveral attempts came to different answers.")


def test_attempts_that_agree_need_no_comparison() -> None:
    output, asked = run_on(Compared(), thoughts("4", "4.0", "4"), question="2 + 2?")
    assert (output.answer.removesuffix(".0"), asked) == ("4", 3)


def test_attempts_that_fail_are_left_out_and_all_of_them_are_an_error() -> None:
    with pytest.raises(OutputError, match="gave no valid output"):
        run_on(MultiChainComparison("question -> answer", n=2), [BAD] * 4, question="?")


@pytest.mark.parametrize("program", [Compared(), MultiChainComparison("question -> answer", n=dspex.Int(1, 4))])
def test_a_comparison_is_the_same_after_a_journey_and_from_its_state(program: MultiChainComparison) -> None:
    journeys: list[Any] = [Parcel.of(program).open(), program_from_state(program.state())]
    for again in journeys:
        assert (again.path, again.values) == (program.path, program.values)
        assert again.program.temperature == 0.7
