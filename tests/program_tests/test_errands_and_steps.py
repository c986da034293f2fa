"""What an optimizer may have done beside scoring: errands, steps of a run, demonstrations that stand in a value."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dspex_ray.demos import held_out
from dspex_ray.errands import errand, run_errand
from dspex_ray.errors import InputError, OutputError, ProgramError
from dspex_ray.evaluation import evaluate_rows
from dspex_ray.example import make_example
from dspex_ray.modules import ChainOfThought, Critic
from dspex_ray.programs.program import Program
from dspex_ray.prompting.steps import MOST_STEPS, kept_steps
from dspex_ray.schema import Schema

GOOD = '{"reasoning": "so", "answer": "yes"}'


class Two(Program):
    """Answer twice."""

    class Input(Schema):
        question: str

    class Output(Schema):
        answer: str

    first = ChainOfThought("question -> answer")
    second = ChainOfThought("question -> answer")

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        await self.first(question=input.question)
        return self.Output(answer=(await self.second(question=input.question)).answer)


def test_steps_are_kept_with_place_input_and_output(scripted: Any) -> None:
    with kept_steps() as steps:
        Two().with_lm(scripted(GOOD)).run(question="q")
    answered = {"reasoning": "so", "answer": "yes"}
    assert steps == [
        {"place": "first", "input": {"question": "q"}, "output": answered},
        {"place": "second", "input": {"question": "q"}, "output": answered},
    ]


def test_a_step_that_never_became_valid_is_kept_with_its_error(scripted: Any) -> None:
    with kept_steps() as steps, pytest.raises(OutputError):
        Two().with_lm(scripted("nonsense")).run(question="q")
    assert [one["place"] for one in steps] == ["first"]
    assert "no valid output" in steps[0]["error"]


def test_no_more_than_the_first_steps_are_kept(scripted: Any) -> None:
    program = ChainOfThought("question -> answer").with_lm(scripted(GOOD))
    with kept_steps() as steps:
        for _ in range(MOST_STEPS + 3):
            program.run(question="q")
    assert len(steps) == MOST_STEPS


def test_rows_have_their_steps_where_they_are_asked_for(scripted: Any) -> None:
    program, rows = Two().with_lm(scripted(GOOD)), [make_example({"question": "q"}, {"answer": "yes"})]

    def metric(example: Any, output: Any) -> float:
        return float(example.output["answer"] == output.answer)

    plain = asyncio.run(evaluate_rows(program, rows, metric))
    traced = asyncio.run(evaluate_rows(program, rows, metric, traced=True))
    assert plain[0].steps is None
    assert [one["place"] for one in traced[0].steps or ()] == ["first", "second"]


ASKED = {"parts": ["a: answer"], "question": "q", "answer": "no", "score": 0.0, "feedback": "wrong"}
ADVICE = '{"advice": [{"part": "a", "advice": "look twice"}]}'


def test_an_errand_asks_a_program_of_this_package_and_answers_with_json(scripted: Any) -> None:
    lm = scripted(ADVICE)
    answer = asyncio.run(run_errand(errand(Critic, ASKED, 3), lm))
    assert answer == {"advice": [{"part": "a", "advice": "look twice"}]}
    assert lm.requests[0].rollout_id == 3


def test_an_errand_with_a_wrong_input_is_refused_where_it_is_made() -> None:
    with pytest.raises(InputError, match="score"):
        errand(Critic, {**ASKED, "score": "high"})


@pytest.mark.parametrize("asked", [{"program": "os:system", "input": {}}, {"program": "dspex_ray.modules:Critic"}, {}])
def test_what_is_no_errand_is_refused(scripted: Any, asked: dict[str, Any]) -> None:
    with pytest.raises(ProgramError, match="names a program of dspex_ray and its input"):
        asyncio.run(run_errand(asked, scripted(ADVICE)))


def test_given_demonstrations_are_shown_but_never_to_their_own_question(scripted: Any) -> None:
    own = make_example({"question": "a?"}, {"answer": "no"})
    demo = {"input": {"question": "a?"}, "output": {"reasoning": "hm", "answer": "yes"}, "of": own.content_id}
    lm = scripted(GOOD)
    program = (
        ChainOfThought("question -> answer").with_values({"demos": {"select": "given", "demos": [demo]}}).with_lm(lm)
    )
    program.run(question="b?")
    assert [one.content for one in lm.requests[-1].messages[1:3]] == ["a?", '{"reasoning": "hm", "answer": "yes"}']
    with held_out(own):
        program.run(question="a?")
    assert len(lm.requests[-1].messages) == 2


def test_a_given_demonstration_that_is_none_is_refused() -> None:
    with pytest.raises(ProgramError, match=r"'of': id or None\} for each demonstration"):
        ChainOfThought("q -> a").with_values({"demos": {"select": "given", "demos": [{"input": {}}]}})
