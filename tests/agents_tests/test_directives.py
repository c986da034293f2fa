"""Directives: what an action decides is checked whole, changes the state purely, and is performed in order."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from dspex_agents import Action, ChildSpec, Instruction, ManualClock, Signal, run_action
from dspex_agents.actions.action_call import ActionCall
from dspex_agents.actions.decision import Decision, decide
from dspex_agents.actions.directive import (
    DeleteState,
    Directive,
    DirectiveError,
    Emit,
    Enqueue,
    Schedule,
    SendTo,
    SetState,
    SpawnChild,
    StopChild,
    StopSelf,
)
from dspex_agents.actions.directive_shell import DirectiveFailedError, DirectiveShell
from dspex_agents.agent import Agent
from dspex_agents.errors import SpecError, UnknownAgentError
from dspex_agents.roles.foundation_messages import UnknownActionError
from dspex_agents.signals.signal_messages import Publish
from dspex_agents.state.state_change import apply_state
from dspex_agents.state.state_schema import StateError
from dspex_agents.testing import LoneHost

SIGNAL = Signal(id="1", source="/tests", type="order.paid")
SPEC = ChildSpec(id="child", start=Agent)


class Line(BaseModel):
    price: float = Field(default=0.0, ge=0)


class Cart(BaseModel):
    count: int = Field(default=0, ge=0)
    totals: dict[str, int] = {}
    by_number: dict[int, str] = {}
    lines: list[Line] = []
    best: Line = Line()
    secret: str = Field(default="s", exclude=True)


# the state, purely --------------------------------------------------------------------------------------------------
def test_set_state_reaches_fields_dicts_lists_and_models_and_leaves_the_state_before_alone() -> None:
    before = Cart(totals={"eu": 1}, lines=[Line(price=1)], secret="kept")
    after = apply_state(
        before,
        [SetState({"count": 2, "totals.us": 5, ("totals", "a.b"): 7, "lines.0.price": 3, "best.price": 4})],
    )
    assert after == Cart(
        count=2, totals={"eu": 1, "us": 5, "a.b": 7}, lines=[Line(price=3)], best=Line(price=4), secret="kept"
    )
    assert before == Cart(totals={"eu": 1}, lines=[Line(price=1)], secret="kept")


def test_changes_build_on_each_other_in_their_order_and_other_directives_change_nothing() -> None:
    state = Cart()
    changes: list[Directive] = [
        SetState({"totals": {"eu": {}}}),
        SetState({"totals": {}}),
        SetState({"totals.eu": 2}),
        StopSelf(),
    ]
    assert apply_state(state, changes) == Cart(totals={"eu": 2})
    assert apply_state(state, [StopSelf(), SendTo("a", 1)]) is state


def test_delete_state_takes_items_out_and_puts_a_field_back_to_its_default() -> None:
    before = Cart(count=3, totals={"eu": 1, "us": 2}, lines=[Line(price=1), Line(price=2)])
    after = apply_state(before, [DeleteState("count"), DeleteState("totals.eu"), DeleteState("lines.0")])
    assert after == Cart(totals={"us": 2}, lines=[Line(price=2)])


def test_a_number_in_a_path_means_an_index_or_a_key_that_is_a_number() -> None:
    before = Cart(by_number={1: "a"})
    after = apply_state(before, [SetState({"by_number.1": "b", ("by_number", 2): "c", "by_number.3": "d"})])
    assert after == Cart(by_number={1: "b", 2: "c", 3: "d"})


def test_every_bad_path_and_every_field_that_breaks_the_schema_is_named_at_once_without_values() -> None:
    changes: list[Directive] = [
        SetState({"count": -77, "cuont": 1, "lines.4.price": 1, "totals.eu.x": 1, "best.prise": 1, "count.x": 1}),
        SetState({"best.price": "much"}),
        DeleteState("totals.us"),
    ]
    with pytest.raises(StateError) as caught:
        apply_state(Cart(), changes)
    assert {p.path for p in caught.value.problems} == {
        "count", "cuont", "lines.4.price", "totals.eu.x", "count.x", "best.price", "totals.us"
    }  # fmt: skip
    assert "cuont: there is no such field; there are: count, totals" in str(caught.value)
    assert "much" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
    assert "77" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_field_that_a_nested_model_does_not_know_is_refused_instead_of_dropped() -> None:
    with pytest.raises(StateError, match=r"best\.prise: the schema knows no such field"):
        apply_state(Cart(), [SetState({"best.prise": 1})])


def test_what_an_action_put_into_the_state_is_not_shared_with_it() -> None:
    mine: dict[str, Any] = {"eu": 1}
    after = apply_state(Cart(), [SetState({"totals": mine})])
    mine["eu"] = 2
    assert after.totals == {"eu": 1}


@given(st.dictionaries(st.text(min_size=1), st.integers(), max_size=5))
def test_setting_then_deleting_every_key_gives_back_the_state(totals: dict[str, int]) -> None:
    keys = [("totals", key) for key in totals]
    grown = apply_state(Cart(), [SetState({key: totals[key[1]]}) for key in keys])
    assert grown.totals == totals
    assert apply_state(grown, [DeleteState(key) for key in keys]) == Cart()


# bad directives -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SetState({}), "fields must map paths"),
        (lambda: SetState([("a", 1)]), "fields must map paths"),
        (lambda: SetState({"a..b": 1}), r"got 'a\.\.b'"),
        (lambda: SetState({(): 1}), r"got \(\)"),
        (lambda: DeleteState(""), "got ''"),
        (lambda: DeleteState(3), "got 3"),
        (lambda: Emit("order.paid"), "must be a Signal"),
        (lambda: SendTo("", 1), "agent must be text"),
        (lambda: SpawnChild("", SPEC), "supervisor must be text"),
        (lambda: SpawnChild("top", "child"), "spec must be a ChildSpec"),
        (lambda: StopChild(""), "name must be text"),
        (lambda: Schedule(-1, ActionCall("Charge")), "not negative, got -1"),
        (lambda: Schedule(math.nan, ActionCall("Charge")), "got nan"),
        (lambda: Schedule(math.inf, ActionCall("Charge")), "got inf"),
        (lambda: Schedule(1, "Charge"), "must be an Instruction or an ActionCall"),
        (lambda: Enqueue(None), "must be an Instruction or an ActionCall"),
        (lambda: StopSelf(""), "reason must be text"),
        (lambda: ActionCall(""), "must be the name of one"),
        (lambda: ActionCall("Charge", [1]), "must map names to values, got a list"),
        (lambda: ActionCall("Charge", timeout_s=0), "timeout_s must be above 0"),
    ],
)
def test_a_directive_that_cannot_be_right_is_a_named_error_where_it_is_made(make: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()


def known(order: Any) -> None:
    if order.action != "Charge":
        raise UnknownActionError(f"no action {order.action!r}")


def shell(host: LoneHost, **options: Any) -> DirectiveShell:
    ended: list[str] = []
    made = DirectiveShell(host.context("me"), **{"bus": "bus", "check_order": known, "end": ended.append, **options})
    made.ended = ended  # type: ignore[attr-defined] # read by the tests below
    return made


def test_all_bad_directives_are_told_before_any_is_performed() -> None:
    bad = [SendTo("a", 1), "stop", StopSelf(), Emit(SIGNAL), Enqueue(ActionCall("Chrage")), StopChild("me")]
    with pytest.raises(DirectiveError) as caught:
        shell(LoneHost(), bus="").check(bad)
    assert len(caught.value.problems) == 5
    text = str(caught.value)
    assert "Number 2 is no directive: 'stop'." in text
    assert "Number 3, StopSelf(normal): it must be the last one." in text
    assert "Number 4, Emit(order.paid): the agent has no bus" in text
    assert "Number 5, Enqueue(Chrage): no action 'Chrage'" in text
    assert "Number 6, StopChild(me): an agent does not stop itself" in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


# performing ---------------------------------------------------------------------------------------------------------
def test_effects_are_performed_in_order_through_the_agents_context() -> None:
    seen: list[Any] = []

    async def ask(to: str, body: Any, **options: Any) -> None:
        seen.append((to, body, options["retry_safe"]))

    host = LoneHost(ManualClock(), ask=ask)
    host.children["old"] = ("top", SPEC)
    performing = shell(host)
    call = ActionCall("Charge", {"n": 1})
    decided: list[Directive] = [
        SetState({"count": 1}),
        Emit(SIGNAL),
        Emit(SIGNAL, bus="other"),
        SendTo("billing", {"due": 3}),
        SpawnChild("top", SPEC),
        StopChild("old"),
        Schedule(2.5, call),
        Enqueue(call),
        StopSelf("done"),
    ]
    asyncio.run(performing.perform(performing.check(decided)))
    assert seen == [("bus", Publish(SIGNAL), True), ("other", Publish(SIGNAL), True)]
    assert host.told == [("billing", {"due": 3}, {}), ("me", call, {"delay_s": 2.5}), ("me", call, {})]
    assert host.children == {"child": ("top", SPEC)}
    assert performing.ended == ["done"]  # type: ignore[attr-defined] # set by `shell`


def test_a_failure_half_way_tells_what_was_performed_and_what_was_not_begun() -> None:
    host = LoneHost()  # nobody is there to be asked: Emit fails
    decided: list[Directive] = [SetState({"count": 1}), SendTo("a", 1), Emit(SIGNAL), SendTo("b", 2), StopSelf("x")]
    performing = shell(host)
    with pytest.raises(DirectiveFailedError) as caught:
        asyncio.run(performing.perform(performing.check(decided)))
    error = caught.value
    assert error.performed == ("SetState(count)", "SendTo(a)")
    assert (error.failed, error.left) == ("Emit(order.paid)", ("SendTo(b)", "StopSelf(x)"))
    assert isinstance(error.__cause__, UnknownAgentError)
    assert [to for to, _, _ in host.told] == ["a"]
    assert performing.ended == []  # type: ignore[attr-defined] # set by `shell`
    assert "UnknownAgentError" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_effect_that_hangs_is_given_up() -> None:
    async def ask(to: str, body: Any, **options: Any) -> None:
        await asyncio.Event().wait()

    performing = shell(LoneHost(ask=ask), timeout_s=0.01)
    with pytest.raises(DirectiveFailedError, match=r"not done within 0\.01 s"):
        asyncio.run(performing.perform([Emit(SIGNAL)]))


# decisions ----------------------------------------------------------------------------------------------------------
class Total(BaseModel):
    total: int = Field(alias="sum")


class Params(BaseModel):
    n: int = 0


class Add(Action[Params, Total]):
    """Add."""

    def __init__(self, *, bad: bool = False) -> None:
        self.bad = bad

    async def run(self, params: Params, context: Mapping[str, Any]) -> Decision:
        output: Any = {"sum": "much"} if self.bad else Total(sum=params.n)
        return Decision(output, SetState({"count": params.n}))


def test_a_decision_gives_its_output_and_its_directives() -> None:
    action = Add()
    output, directives = asyncio.run(decide(Instruction(action, {"n": 3})))
    assert output == Total(sum=3)
    assert directives == (SetState({"count": 3}),)
    assert "run" not in vars(action)


def test_the_directives_of_an_action_that_failed_are_lost_with_it() -> None:
    with pytest.raises(Exception, match="1 bad output field: sum"):
        asyncio.run(decide(Instruction(Add(bad=True))))


class Plain(Action[Params, Params]):
    """Answer with what was given, undone if it must be."""

    async def run(self, params: Params, context: Mapping[str, Any]) -> Decision:
        return Decision(params, StopSelf())

    async def compensate(self, params: Params, context: Mapping[str, Any], error: Exception) -> str:
        return "undone"


def test_outside_an_agent_a_decision_counts_as_its_output() -> None:
    assert asyncio.run(run_action(Plain(), {"n": 2})) == Params(n=2)
    assert asyncio.run(run_action(Add(), {"n": 2})) == Total(sum=2)
    output, directives = asyncio.run(decide(Instruction(Plain(), {"n": 2})))
    assert (output, directives) == (Params(n=2), (StopSelf(),))
