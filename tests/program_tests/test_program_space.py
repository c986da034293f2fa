"""A program's variables that depend on each other: conditions, constraints, computed values."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

import dspex_ray as dspex
from dspex_coordination.conditions import V
from dspex_coordination.space import Constraint
from dspex_coordination.variables import Composite
from dspex_ray.errors import ProgramError


class Tied(dspex.Program):
    """Say which intent the message has."""

    class Input(dspex.Schema):
        message: str

    class Output(dspex.Schema):
        intent: str

    model = dspex.Choice(["small", "large"])
    thinking = dspex.Int(1, 8, default=2, when={"model": "large"})
    draws = dspex.Int(1, 8, default=1)
    calls = Composite(V("thinking") * V("draws"), depends_on=["thinking", "draws"])
    constraints: ClassVar[list[Any]] = [Constraint(V("draws") + V("thinking") <= 9, "too many calls in all")]


def test_an_inactive_variable_has_its_default_and_a_computed_one_follows() -> None:
    large = Tied().with_values({"model": "large", "thinking": 4, "draws": 3})
    assert (large.thinking, large.calls) == (4, 12)
    small = large.with_values({"model": "small"})
    assert (small.thinking, small.values["thinking"], small.draws) == (2, 2, 3)


def test_a_broken_constraint_says_what_is_wrong() -> None:
    with pytest.raises(ProgramError, match="too many calls in all"):
        Tied().with_values({"model": "large", "thinking": 8, "draws": 8})


def test_a_value_for_an_inactive_or_computed_variable_is_refused() -> None:
    with pytest.raises(ProgramError, match="thinking: is inactive unless model == 'large'"):
        Tied().with_values({"thinking": 5})
    with pytest.raises(ProgramError, match="calls: is computed, so it is 2 here and cannot be 64"):
        Tied().with_values({"model": "large", "calls": 64})
    with pytest.raises(ProgramError, match="calls: is computed, so it is None here"):
        Tied().with_values({"calls": 64})


def test_the_state_of_a_tied_program_restores_it() -> None:
    tied = Tied().with_values({"model": "large", "thinking": 4, "draws": 3})
    assert Tied.from_state(tied.state()).values == tied.values


def declare(**attributes: Any) -> None:
    type("Wrong", (Tied,), {"__doc__": "Wrong.", **attributes})


def test_constraints_that_cannot_be_are_told_when_the_program_is_declared() -> None:
    with pytest.raises(ProgramError, match=r"Wrong: (?s:.*)modle: no such variable. Did you mean 'model'"):
        declare(constraints=[V("modle") == "small"])
    with pytest.raises(ProgramError, match=r"Wrong.constraints is a list of conditions, got 'model'"):
        declare(constraints="model")
    with pytest.raises(ProgramError, match="Wrong: "):
        declare(draws=dspex.Int(1, 8, default=8), constraints=[V("draws") <= 4])
