"""`auto` takes an optimizer that writes where there is something to write, and trials enough to tell texts apart."""

from __future__ import annotations

from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray.errors import UsageError
from dspex_ray.search_choice import program_optimizer_for
from dspex_ray.search_plan import SearchRequest, prepare
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(40)]


class Plain(dspex.Program):
    """Say whether it is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    temperature = dspex.Float(0.0, 1.0, default=0.1)


class Shown(Plain):
    """Say whether it is even."""

    demos = dspex.Demos(max=4)


class Counted(Plain):
    """Say whether it is even."""

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        return self.Output(answer=str(len(input.question)))


def chosen(program: dspex.Program, trials: int, lm: str = "openai/any") -> str | None:
    found = program_optimizer_for(program.with_lm(lm), trials)
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("trials", "name"),
    [(4, None), (5, "bootstrap_few_shot"), (10, "beacon_programs"), (40, "beacon_programs"), (41, "genetic_programs")],
)
def test_the_number_of_trials_decides(trials: int, name: str | None) -> None:
    assert chosen(Shown(), trials) == name


def test_without_demonstrations_few_trials_choose_values() -> None:
    assert chosen(Plain(), 9) is None
    assert chosen(Plain(), 10) == "beacon_programs"


@pytest.mark.parametrize(("program", "lm"), [(Shown(), "embedded/nearest"), (Counted(), "openai/any")])
def test_where_nothing_can_be_written_values_are_chosen(program: dspex.Program, lm: str) -> None:
    assert chosen(program, 30, lm) is None


def test_the_plan_names_what_was_chosen_and_why(store: Store) -> None:
    request = SearchRequest(program=Shown().with_lm("openai/any"), data=ROWS, trials=30)
    plan = prepare(request, "run-1", store, is_new=True)
    assert plan.search.optimizer == "beacon_programs"
    assert (
        plan.reason
        == "A model writes instructions and demonstrations, which are chosen together with all other variables."
    )
    named = prepare(
        SearchRequest(program=Shown().with_lm("openai/any"), data=ROWS, optimizer="reflective"), "r", store, is_new=True
    )
    assert (named.search.optimizer, named.reason) == ("reflective", "")


def test_with_a_teacher_one_is_chosen_that_learns_from_it(store: Store) -> None:
    taught = SearchRequest(program=Shown().with_lm("openai/any"), data=ROWS, trials=90, teacher="openai/large")
    assert prepare(taught, "run-1", store, is_new=True).search.optimizer == "beacon_programs"
    alone = SearchRequest(program=Shown().with_lm("embedded/nearest"), data=ROWS, teacher="openai/large")
    with pytest.raises(UsageError, match="teacher"):
        prepare(alone, "run-2", store, is_new=True)
