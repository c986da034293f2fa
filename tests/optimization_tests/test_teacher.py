"""A model that teaches: it solves train rows in the program's place, and what it shows is tried by the program."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa

import dspex_ray as dspex
from dspex_coordination.sweep import SweepStore
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS, TAUGHT
from dspex_ray.store import Store
from dspex_ray.store.tables import calls

ROWS = [{"question": f"is {n} even?", "answer": "even" if n % 2 == 0 else "odd"} for n in range(40)]


class Clerk:
    """Knows the parity of numbers below `knows`, or of all once it is shown some reasoning worth following."""

    def __init__(self, name: str, knows: int) -> None:
        self.model, self.knows = name, knows

    async def complete(self, request: LMRequest) -> LMReply:
        *before, asked = [one.content for one in request.messages]
        number = int(next(word for word in asked.split() if word.isdigit()))
        knows = number < self.knows or any("rest of 2" in one for one in before)
        right = number % 2 == 0
        answer = "even" if right == knows else "odd"
        why = f"{number} has a rest of 2" if self.model == "clerk/old" else "it looks so"
        text = json.dumps({"reasoning": why, "answer": answer})
        return LMReply(text=text, model=self.model, usage=Usage(prompt_tokens=5, completion_tokens=5), cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


NOVICE, OLD, BAD = Clerk("clerk/novice", 12), Clerk("clerk/old", 10**9), Clerk("clerk/bad", 0)


class Parity(dspex.ChainOfThought):
    """Say whether the number is even or odd."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    demos = dspex.Demos(max=2)


def search(store: Store, program: dspex.Program | None = None, **options: Any) -> dspex.Optimized:
    asked = {"runtime": "in-process", "workers": 1, "store": store, "trials": 8, "optimizer": "bootstrap_few_shot"}
    return dspex.optimize(program or Parity().with_lm(NOVICE), ROWS, **{**asked, **options})


def made_by(store: Store, run_id: str) -> dict[str, int]:
    counted = sa.select(calls.c.model, sa.func.count()).where(calls.c.run_id == run_id).group_by(calls.c.model)
    with store.database.read() as connection:
        return {str(model): int(count) for model, count in connection.execute(counted)}


@pytest.mark.parametrize("optimizer", TAUGHT)
def test_the_program_learns_from_what_its_teacher_shows(store: Store, optimizer: str) -> None:
    found = search(store, optimizer=optimizer, teacher=OLD, trials=12)
    assert found.score == 1.0 > (found.baseline or 0.0)
    assert "rest of 2" in str(found.program.values["demos"])
    assert found.version.facts["teacher"] == "clerk/old"
    looks = [trial for trial in found.history if trial.teacher]
    assert looks
    assert all(trial.split == "train" and trial.mean == 1.0 for trial in looks)
    assert not any("teacher" in warning for warning in found.warnings)


def test_the_calls_of_the_teacher_are_in_the_ledger_and_on_the_bill(store: Store) -> None:
    found = search(store, teacher=OLD, settings={"rows": 5, "looks": 1})
    counted = made_by(store, found.run_id)
    assert counted["clerk/old"] == 5 + 1  # and one before it began
    assert found.cost_usd == pytest.approx(0.001 * sum(counted.values()))


def test_rows_that_the_teacher_solved_say_nothing_of_the_program(store: Store) -> None:
    found = search(store, teacher=BAD, trials=5, settings={"looks": 1})
    assert {trial.mean for trial in found.history if trial.teacher} == {0.0}
    train = found.version.facts["train"]
    assert train is None or train["score"] > 0.0
    trials = SweepStore(store.database).trials(found.run_id)
    assert [one.teacher for one in trials][: len(found.history)] == [one.teacher for one in found.history]


def test_a_bad_teacher_does_no_harm_and_is_warned_of(store: Store) -> None:
    found = search(store, teacher=BAD, trials=10)
    assert found.score >= (found.baseline or 0.0) > 0.0
    assert any("The teacher scored 0.0 %, less than" in warning for warning in found.warnings)
    looks = [trial for trial in found.history if trial.split == "train"]
    assert [trial.teacher for trial in looks][:2] == [True, False]  # the program's own model, where the teacher fails
    assert "it looks so" in str([trial.candidate.values["demos"] for trial in found.history])


def test_a_teacher_answers_for_every_part_whatever_model_it_names(store: Store) -> None:
    class Sure(dspex.Program):
        """Say whether the number is even or odd."""

        class Input(dspex.Schema):
            question: str

        class Output(dspex.Schema):
            answer: str

        say = Parity().with_lm(BAD)

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            return self.Output(answer=(await self.say(question=input.question)).answer)

    found = search(store, Sure().with_lm(NOVICE), teacher=OLD)
    assert found.score == 1.0
    assert made_by(store, found.run_id).keys() == {"clerk/old", "clerk/bad"}


def test_a_run_is_resumed_with_its_teacher_and_refused_with_another_or_none(store: Store) -> None:
    first = search(store, teacher=OLD, trials=4)
    longer = search(store, teacher=OLD, trials=7, resume=first.run_id)
    assert longer.history[: len(first.history)] == first.history
    with pytest.raises(dspex.UsageError, match="teacher: was 'clerk/old', is now 'clerk/bad'"):
        search(store, teacher=BAD, trials=7, resume=first.run_id)
    with pytest.raises(dspex.UsageError, match="teacher: was 'clerk/old', is now None"):
        search(store, trials=7, resume=first.run_id)


def test_a_run_that_learns_from_one_with_a_teacher_takes_over_the_programs_own_scores_alone(store: Store) -> None:
    first = search(store, teacher=OLD, trials=6)
    forked = search(store, fork=first.run_id, trials=2)
    assert forked.score == 1.0
    assert forked.plan is not None
    taught = {trial.number for trial in first.history if trial.teacher}
    assert taught
    assert taught.isdisjoint(one.number for one in forked.plan.search.context.earlier)


def test_the_number_of_workers_changes_nothing(make_store: Callable[[], Store]) -> None:
    one, two = (search(make_store(), teacher=OLD, workers=workers, seed=3) for workers in (1, 2))
    assert one.history == two.history
    assert one.version.hash == two.version.hash


@pytest.mark.parametrize("optimizer", ["genetic", *(one for one in PROGRAM_OPTIMIZERS if one not in TAUGHT)])
def test_an_optimizer_that_learns_from_no_teacher_is_refused_with_those_that_do(store: Store, optimizer: str) -> None:
    with pytest.raises(dspex.UsageError, match="learns from no teacher; beacon_programs and bootstrap_few_shot do"):
        search(store, optimizer=optimizer, teacher=OLD)


def test_a_teacher_out_of_reach_is_found_before_anything_runs(store: Store) -> None:
    with pytest.raises(dspex.DspexError, match="OPENAI_API_KEY"):
        search(store, teacher="openai/gpt-4o")
    assert SweepStore(store.database).list_sweeps() == ()


def test_what_is_no_model_is_no_teacher(store: Store) -> None:
    teacher: Any = 7
    with pytest.raises(dspex.ConfigurationError, match="7"):
        search(store, teacher=teacher)
