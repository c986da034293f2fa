"""The foundation agent: declared actions on a state with a schema, hooks, registration, telemetry, coordination."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest
from foundation_samples import ADD, Act, AddItems, Bench, By, Cart, CartState, Count
from pydantic import BaseModel

from dspex_agents import (
    Action,
    ActionInputError,
    ActionTimeoutError,
    AgentExit,
    DeadlineExceededError,
    Instruction,
    ManualClock,
    RetryPolicy,
    Signal,
    SignalDelivery,
    SignalRoute,
    SpecError,
    UnknownAgentError,
)
from dspex_agents.actions.action_call import ActionCall
from dspex_agents.actions.decision import Decision
from dspex_agents.actions.directive import Directive, DirectiveError, Emit, Enqueue, SendTo, SetState, StopSelf
from dspex_agents.actions.directive_shell import DirectiveFailedError
from dspex_agents.roles.coordination import Coordination, NobodyFitsError
from dspex_agents.roles.foundation_agent import FoundationAgent
from dspex_agents.roles.foundation_messages import GetState, NoRouteError, UnknownActionError
from dspex_agents.roles.self_registration import RegistrationError
from dspex_agents.runtime.port import PortUnavailableError
from dspex_agents.services.telemetry import TelemetryEvent, TelemetryHub
from dspex_agents.state.state_schema import StateError
from dspex_agents.supervision.registry import Query, Registration
from dspex_agents.testing import LoneHost


def acting(act: Callable[..., Coroutine[Any, Any, Any]], **options: Any) -> Bench:
    return Bench(actions=[Act(act)], **options)


# declaration --------------------------------------------------------------------------------------------------------
def test_an_agent_is_named_and_described_by_its_class_unless_it_says_otherwise() -> None:
    class Named(Cart):
        name = "shopping-cart"
        description = "A cart."

    assert (Cart.name, Cart.description) == ("Cart", "Keeps count of items.")
    assert (Named.name, Named.description) == ("shopping-cart", "A cart.")


def test_bug_the_capabilities_option_was_ignored_and_the_list_hard_wired() -> None:
    class Plain(FoundationAgent):
        pass

    assert Plain().capabilities == frozenset()
    assert Cart(capabilities={"gift-wrapping"}).capabilities == {"cart", "gift-wrapping"}
    assert Cart().capabilities == {"cart"}


def declared(**body: Any) -> type[FoundationAgent]:
    return type("Bad", (FoundationAgent,), body)


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: declared(State=dict), "State must be a pydantic model class"),
        (lambda: declared(State=Count), "these have none: count"),
        (declared(actions=["AddItems"]), "must be Action classes or instances"),
        (lambda: Cart(actions=[AddItems()]), "two actions are named 'AddItems'"),
        (lambda: Cart(actions=[Act]), "cannot be made without arguments"),
        (lambda: Cart(capabilities="cart"), "must be a set of texts, got 'cart'"),
        (lambda: Cart(capabilities=[""]), "must be a set of texts"),
        (declared(routes=[SignalRoute("a", "Nothing")]), "leads to no action of none"),
    ],
)
def test_an_agent_that_cannot_work_is_a_named_error(declare: Callable[[], Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        declare()


def test_an_initial_state_that_breaks_the_schema_is_a_named_error_with_every_field() -> None:
    with pytest.raises(StateError, match=r"2 bad field\(s\).*count: .*; cuont: there is no such field"):
        Cart(state={"count": -1, "cuont": 2})
    assert Cart(state={"count": 7}).state.count == 7


# actions and state --------------------------------------------------------------------------------------------------
def test_a_call_by_name_and_an_instruction_are_answered_with_the_actions_output() -> None:
    bench = Bench()
    assert bench.run(ADD, Instruction(AddItems(), {"by": 3})) == Count(count=5)
    assert bench.agent.state.count == 5


def test_an_instruction_runs_the_agents_own_instance_of_the_action() -> None:
    async def mine(params: By, context: Mapping[str, Any]) -> Count:
        return Count(count=1)

    async def theirs(params: By, context: Mapping[str, Any]) -> Count:
        return Count(count=666)

    assert acting(mine).run(Instruction(Act(theirs))) == Count(count=1)


def test_an_action_the_agent_was_not_given_is_refused_with_those_it_has() -> None:
    class Other(Action[By, Count]):
        name = "AddItems"

    bench = Bench()
    with pytest.raises(UnknownActionError, match=r"agent 'Cart' has no action 'Remove'\. It has: AddItems, Show"):
        bench.run(ActionCall("Remove"))
    with pytest.raises(UnknownActionError, match="another action of the name 'AddItems'"):
        bench.run(Instruction(Other()))
    assert (bench.agent.details()["refused"], bench.agent.details()["failed"]) == (2, 0)


def test_an_action_finds_the_state_the_agent_and_what_is_shared_in_its_context() -> None:
    found: dict[str, Any] = {}

    async def look(params: By, context: Mapping[str, Any]) -> Count:
        found.update(context)
        return Count(count=0)

    class Sharing(Cart):
        def action_context(self) -> Mapping[str, Any]:
            return {"client": "shared", "who": "agent"}

    bench = Bench(Sharing, actions=[Act(look)])
    bench.run(ActionCall("Act", context={"who": "asker", "state": "forged"}))
    assert (found["client"], found["who"], found["state"]) == ("shared", "asker", CartState())
    assert found["agent"] is bench.agent.context


def test_an_action_that_changes_its_copy_changes_nothing() -> None:
    bench = Bench()
    bench.run(ActionCall("Scribble"))
    assert bench.agent.state == CartState()


def test_a_state_that_breaks_its_schema_is_refused_whole_and_the_old_one_stays() -> None:
    async def overfill(params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=101), SetState({"count": 101, "notes": "none", "nots": []}), SendTo("a", "told"))

    bench = acting(overfill)
    with pytest.raises(StateError) as caught:
        bench.run(ADD, ActionCall("Act"))
    assert [problem.path for problem in caught.value.problems] == ["count", "notes", "nots"]
    assert bench.agent.state == CartState(count=2)
    assert bench.host.told == []


def test_bad_parameters_are_named_and_a_timeout_of_the_call_is_kept() -> None:
    async def hang(params: By, context: Mapping[str, Any]) -> Count:
        await asyncio.Event().wait()
        return Count(count=0)

    with pytest.raises(ActionInputError, match="by:"):
        Bench().run(ActionCall("AddItems", {"by": "many"}))
    with pytest.raises(ActionTimeoutError, match=r"within 0\.01 s"):
        acting(hang).run(ActionCall("Act", timeout_s=0.01))


def test_a_bad_directive_is_told_before_any_is_performed_and_the_state_stays() -> None:
    async def wrong(params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(
            Count(count=1), SetState({"count": 1}), SendTo("a", 1), Enqueue(ActionCall("Nothing")), Emit(SIGNAL)
        )

    bench = acting(wrong)
    with pytest.raises(
        DirectiveError, match=r"Enqueue\(Nothing\): .* has no action.*Emit\(item.added\): .* has no bus"
    ):
        bench.run(ActionCall("Act"))
    assert bench.agent.state == CartState()
    assert bench.host.told == []


def test_a_directive_that_fails_half_way_leaves_the_state_changed_and_says_so() -> None:
    async def send(params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=1), SetState({"count": 1}), SendTo("a", 1), Emit(SIGNAL, bus="nobody"))

    bench = acting(send)
    with pytest.raises(DirectiveFailedError) as caught:
        bench.run(ActionCall("Act"))
    assert caught.value.performed == ("SetState(count)", "SendTo(a)")
    assert bench.agent.state.count == 1


def test_a_stopped_agent_answers_and_ends_before_its_next_message() -> None:
    async def stop(params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=9), SetState({"count": 9}), StopSelf("moved out"))

    async def life() -> None:
        bench = acting(stop)
        await bench.agent.on_start()
        assert await bench.agent.on_message(ActionCall("Act")) == Count(count=9)
        await asyncio.sleep(0)
        with pytest.raises(AgentExit, match="moved out"):
            await bench.agent.on_message(ADD)
        assert bench.agent.state.count == 9
        assert [to for to, _, _ in bench.host.asked] == ["cart-1"]  # it told itself, so that it need not wait for one

    asyncio.run(life())


# signals ------------------------------------------------------------------------------------------------------------
SIGNAL = Signal(id="s1", source="/tests", type="item.added", data={"by": 4})


def delivery(signal: Signal = SIGNAL) -> SignalDelivery:
    return SignalDelivery(signal, "sub", 1, 1)


def test_a_signal_runs_every_action_its_type_leads_to_in_the_routers_order() -> None:
    bench = Bench()
    assert bench.run(delivery()) == (Count(count=0), Count(count=4))
    started = [e.metadata["action"] for e in bench.heard.events if e.name == "action.starting"]
    assert started == ["Show", "AddItems"]


def test_a_signal_comes_with_its_envelope_and_without_data_with_no_parameters() -> None:
    found: list[Any] = []

    async def look(params: By, context: Mapping[str, Any]) -> Count:
        found.append((params, context["signal"], context["delivery"]))
        return Count(count=0)

    class Watching(Cart):
        routes = (SignalRoute("**", "Act"),)

    bare = Signal(id="s2", source="/tests", type="bare")
    Bench(Watching, actions=[Act(look)]).run(delivery(bare))
    assert found == [(By(), bare, delivery(bare))]


def test_a_signal_without_a_route_or_without_an_object_is_refused_instead_of_dropped() -> None:
    bench = Bench()
    with pytest.raises(NoRouteError, match=r"no route for signals of type 'order.paid'. It has: 'item.\*'"):
        bench.run(delivery(Signal(id="1", source="/tests", type="order.paid")))
    with pytest.raises(SpecError, match="must map names to values, got a list"):
        bench.run(delivery(Signal(id="1", source="/tests", type="item.added", data=[1])))
    assert bench.agent.details()["refused"] == 2


# hooks --------------------------------------------------------------------------------------------------------------
class Hooked(Cart):
    """Notes what is called, and raises where the test says so."""

    def __init__(self, raises: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.raises, self.called = raises, list[tuple[Any, ...]]()

    def note(self, *what: Any) -> None:
        self.called.append(what)
        if what[0] == self.raises:
            raise ValueError(f"{what[0]} says no")

    async def on_mount(self, context: Any) -> None:
        await super().on_mount(context)
        self.note("mount", context.name, len(self.context._host.updates))

    async def on_before_run(self, instruction: Instruction) -> None:
        await super().on_before_run(instruction)
        self.note("before", instruction.action.name, instruction.params)

    async def on_after_run(
        self, instruction: Instruction, result: BaseModel, directives: tuple[Directive, ...]
    ) -> None:
        await super().on_after_run(instruction, result, directives)
        self.note("after", instruction.action.name, result, directives, self.state.count)

    async def on_error(self, error: Exception) -> None:
        await super().on_error(error)
        self.note("error", type(error).__name__)

    async def on_shutdown(self, reason: str) -> None:
        await super().on_shutdown(reason)
        self.note("shutdown", reason)


def test_hooks_are_called_in_their_order_with_what_their_docstrings_say() -> None:
    bench = Bench(Hooked)

    async def life() -> None:
        await bench.agent.on_start()
        await bench.agent.on_message(ADD)
        with pytest.raises(ActionInputError):
            await bench.agent.on_message(ActionCall("AddItems", {"by": "x"}))
        await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    assert isinstance(bench.agent, Hooked)
    assert bench.agent.called == [
        ("mount", "cart-1", 1),
        ("before", "AddItems", {"by": 2}),
        ("after", "AddItems", Count(count=2), (SetState({"count": 2}),), 0),
        ("before", "AddItems", {"by": "x"}),
        ("error", "ActionInputError"),
        ("shutdown", "shutdown"),
    ]


@pytest.mark.parametrize("hook", ["before", "after"])
def test_a_hook_around_an_action_that_raises_keeps_it_from_taking_effect(hook: str) -> None:
    bench = Bench(Hooked, raises=hook)
    with pytest.raises(ValueError, match=f"{hook} says no"):
        bench.run(ADD)
    assert isinstance(bench.agent, Hooked)
    assert bench.agent.called[-1] == ("error", "ValueError")
    assert bench.agent.state.count == 0


def test_a_mount_that_raises_fails_the_start() -> None:
    bench = Bench(Hooked, raises="mount")
    with pytest.raises(ValueError, match="mount says no"):
        bench.run()
    assert "agent.started" not in bench.heard.names


def test_a_shutdown_that_raises_is_told_and_the_stop_goes_on() -> None:
    bench = Bench(Hooked, raises="shutdown")

    async def life() -> None:
        await bench.agent.on_start()
        with pytest.raises(ValueError, match="shutdown says no"):
            await bench.agent.on_stop("normal")

    asyncio.run(life())
    assert bench.heard.names[-1] == "agent.terminated"


def test_an_error_hook_may_answer_with_another_error_and_what_it_raises_is_answered_too() -> None:
    class Translating(Cart):
        async def on_error(self, error: Exception) -> Exception | None:
            return LookupError("not in the cart")

    with pytest.raises(LookupError, match="not in the cart") as caught:
        Bench(Translating).run(ActionCall("AddItems", {"by": "x"}))
    assert isinstance(caught.value.__cause__, ActionInputError)
    with pytest.raises(ValueError, match="error says no"):
        Bench(Hooked, raises="error").run(ActionCall("AddItems", {"by": "x"}))


def test_an_after_hook_may_put_other_directives_in_place_and_they_are_checked_too() -> None:
    class Doubling(Cart):
        async def on_after_run(
            self, instruction: Instruction, result: BaseModel, directives: tuple[Directive, ...]
        ) -> list[Directive]:
            return [SetState({"count": 42}), *([Emit(SIGNAL)] if self.state.count else [])]

    bench = Bench(Doubling)
    bench.run(ADD)
    assert bench.agent.state.count == 42
    with pytest.raises(DirectiveError, match="has no bus"):
        asyncio.run(bench.agent.on_message(ADD))


def test_hooks_change_the_state_through_directives() -> None:
    class Filling(Cart):
        async def on_mount(self, context: Any) -> None:
            await self.carry_out(SetState({"count": 10}), SendTo("billing", "open"))

    bench = Bench(Filling)
    assert bench.run(ActionCall("Show")) == Count(count=10)
    assert [to for to, _, _ in bench.host.told] == ["billing"]
    with pytest.raises(DirectiveError, match="is no directive"):
        asyncio.run(bench.agent.carry_out("stop"))  # type: ignore[arg-type] # what a user may try


# cancelling ---------------------------------------------------------------------------------------------------------
def test_a_change_that_has_begun_becomes_whole_though_its_asker_gives_up() -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def ask(to: str, body: Any, **options: Any) -> None:
        reached.set()
        await gate.wait()

    async def send(params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=1), SetState({"count": 1}), Emit(SIGNAL, bus="bus"), SendTo("after", 1))

    async def life() -> None:
        bench = acting(send, host=LoneHost(ManualClock(), ask=ask))
        await bench.agent.on_start()
        asking = asyncio.create_task(bench.agent.on_message(ActionCall("Act")))
        await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert bench.host.told == []
        gate.set()
        await bench.agent.on_stop("shutdown")
        assert [to for to, _, _ in bench.host.told] == ["after"]
        assert bench.agent.state.count == 1
        assert bench.heard.names == [
            "agent.started", "action.starting", "action.failed", "agent.terminated"
        ]  # fmt: skip

    asyncio.run(life())


def test_an_error_that_nobody_waits_for_any_more_is_still_told() -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def ask(to: str, body: Any, **options: Any) -> None:
        reached.set()
        await gate.wait()
        raise UnknownAgentError("the bus is gone")

    async def send(params: By, context: Mapping[str, Any]) -> Decision:
        return Decision(Count(count=1), Emit(SIGNAL, bus="bus"))

    async def life() -> None:
        bench = acting(send, host=LoneHost(ManualClock(), ask=ask))
        await bench.agent.on_start()
        asking = asyncio.create_task(bench.agent.on_message(ActionCall("Act")))
        await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.set()
        await bench.agent.on_stop("shutdown")
        assert "the bus is gone" in bench.agent.details()["last_error"]
        assert "agent.error" in bench.heard.names

    asyncio.run(life())


# registration -------------------------------------------------------------------------------------------------------
class Away(LoneHost):
    """A host whose root is away for the first `times` updates."""

    def __init__(self, times: int, error: Exception) -> None:
        super().__init__(ManualClock(1000.0))
        self.times, self.error = times, error

    async def update(self, name: str, epoch: int, changes: Mapping[str, Any]) -> None:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        await super().update(name, epoch, changes)


def test_an_agent_registers_its_kind_version_start_and_process() -> None:
    bench = Bench()
    bench.run()
    ((name, epoch, changes),) = bench.host.updates
    metadata = changes["metadata"]
    assert (name, epoch) == ("cart-1", 1)
    assert metadata["agent_type"] == "Cart"
    assert metadata["actions"] == ("AddItems", "Show", "Scribble")
    assert (metadata["pid"], metadata["started_at"]) == (os.getpid(), 1000.0)
    assert metadata["framework_version"]


@pytest.mark.parametrize("error", [PortUnavailableError("root"), TimeoutError(), UnknownAgentError("full")])
def test_registering_is_tried_again_with_growing_waits_while_the_root_is_away(error: Exception) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    bench = Bench(host=Away(3, error), sleep=sleep, retry=RetryPolicy(jitter=0.0))
    bench.run()
    assert waits == [0.5, 1.0, 2.0]
    assert len(bench.host.updates) == 1


def test_registering_that_fails_too_often_fails_the_start_by_name() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    bench = Bench(Hooked, host=Away(4, PortUnavailableError("the root is away")), sleep=sleep)
    with pytest.raises(RegistrationError, match=r"'cart-1' could not register, 4 attempt\(s\): PortUnavailableError"):
        bench.run()
    assert len(waits) == 3
    assert isinstance(bench.agent, Hooked)
    assert bench.agent.called == []


def test_a_registration_that_can_never_be_right_is_not_tried_again() -> None:
    bench = Bench(host=Away(9, SpecError("metadata")))
    with pytest.raises(RegistrationError, match=r"1 attempt\(s\)"):
        bench.run()


# telemetry ----------------------------------------------------------------------------------------------------------
def test_bug_the_duration_of_an_action_was_a_constant_0() -> None:
    async def work(params: By, context: Mapping[str, Any]) -> Count:
        bench.clock.advance(params.by)
        if params.by == 3:
            raise ValueError("too much")
        return Count(count=0)

    bench = acting(work)
    with pytest.raises(Exception, match="too much"):
        bench.run(ActionCall("Act", {"by": 2}, id="i1"), ActionCall("Act", {"by": 3}))
    ends = [e for e in bench.heard.events if e.name in ("action.completed", "action.failed")]
    assert [(e.name, e.measurements) for e in ends] == [
        ("action.completed", {"duration_s": 2.0}),
        ("action.failed", {"duration_s": 3.0}),
    ]
    assert ends[0].metadata["instruction"] == "i1"
    assert ends[1].metadata["error_type"] == "ActionFailedError"


def test_the_events_of_a_life_come_in_order_and_say_of_whom() -> None:
    bench = Bench()

    async def life() -> None:
        await bench.agent.on_start()
        await bench.agent.on_message(ADD)
        with pytest.raises(ActionInputError):
            await bench.agent.on_message(ActionCall("AddItems", {"by": "x"}))
        await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    assert bench.heard.names == [
        "agent.started",
        "action.starting",
        "action.completed",
        "action.starting",
        "action.failed",
        "agent.error",
        "agent.terminated",
    ]
    who = {"agent": "cart-1", "agent_type": "Cart", "epoch": 1}
    assert all(who.items() <= event.metadata.items() for event in bench.heard.events)
    assert bench.heard.events[-1].metadata["reason"] == "shutdown"


def test_an_agent_that_ends_in_an_action_has_not_failed() -> None:
    async def end(params: By, context: Mapping[str, Any]) -> Count:
        raise AgentExit("enough")

    bench = acting(end)
    with pytest.raises(AgentExit):
        bench.run(ActionCall("Act"))
    assert bench.agent.details()["failed"] == 0
    assert bench.heard.names[-1] == "action.failed"


def test_bug_successful_status_queries_counted_as_processed_work() -> None:
    bench = Bench()
    bench.run(ADD)
    assert asyncio.run(bench.agent.on_control(GetState())) == CartState(count=2)
    assert bench.agent.details()["processed"] == 1
    with pytest.raises(NotImplementedError):
        asyncio.run(bench.agent.on_control("what"))
    assert (bench.agent.details()["processed"], bench.agent.details()["failed"]) == (1, 0)


def test_the_hub_calls_who_attached_by_pattern_and_outlives_a_listener_that_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub, heard = TelemetryHub(), list[str]()

    def broken(event: TelemetryEvent) -> None:
        raise ValueError("no room")

    hub.attach("broken", "**", broken)
    hub.attach("actions", "action.*", lambda event: heard.append(event.name))
    hub.emit(TelemetryEvent("action.completed"))
    hub.emit(TelemetryEvent("agent.started"))
    assert heard == ["action.completed"]
    assert (hub.failures, hub.last_error) == (2, "ValueError: no room")
    assert "a telemetry listener for '**' failed" in caplog.text
    with pytest.raises(SpecError, match="'actions' is attached already"):
        hub.attach("actions", "agent.*", broken)
    with pytest.raises(SpecError, match="stray dots"):
        hub.attach("bad", "agent..x", broken)
    assert (hub.detach("actions"), hub.detach("actions")) == (True, False)
    hub.emit(TelemetryEvent("action.completed"))
    assert heard == ["action.completed"]


def test_events_that_could_not_be_published_are_counted_and_told() -> None:
    bench = Bench(bus="bus")  # nobody is there

    async def life() -> None:
        await bench.agent.on_start()
        await bench.agent.on_message(ADD)
        await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    events = bench.agent.details()["events"]
    assert (events["published"], events["failed"], events["waiting"]) == (0, 4, 0)
    assert "UnknownAgentError" in events["last_error"]


# coordination -------------------------------------------------------------------------------------------------------
async def answers(to: str, body: Any, **options: Any) -> Any:
    if to == "deaf":
        raise DeadlineExceededError("no answer")
    return f"{to} did {body} in {options['timeout_s']}"


def coordinated(others: Any, found: tuple[str, ...] = ()) -> Coordination:
    def find(query: Query) -> list[Registration]:
        assert query.capabilities == {"pricing"}
        return [Registration(name) for name in found]

    bench = Bench(host=LoneHost(ManualClock(), ask=answers, find=find))

    async def life() -> Coordination:
        await bench.agent.on_start()
        return await bench.agent.coordinate_with(others, "prices", timeout_s=3)

    return asyncio.run(life())


def test_bug_coordinating_with_agents_only_returned_a_fresh_id() -> None:
    result = coordinated(["a", "deaf", "b", "a"])
    assert result.answers == {"a": "a did prices in 3", "b": "b did prices in 3"}
    assert {name: type(error) for name, error in result.errors.items()} == {"deaf": DeadlineExceededError}


def test_agents_to_coordinate_with_are_found_by_what_they_can_do_without_the_asker() -> None:
    pricing = Query(capabilities=frozenset({"pricing"}))
    assert list(coordinated(pricing, ("p1", "cart-1", "p2")).answers) == ["p1", "p2"]
    with pytest.raises(NobodyFitsError, match="'cart-1' found no other agent that fits"):
        coordinated(pricing, ("cart-1",))


@pytest.mark.parametrize(("others", "told"), [([], r"got \[\]"), ("abc", "got 'abc'"), (["a", "cart-1"], "itself")])
def test_agents_that_cannot_be_coordinated_with_are_a_named_error(others: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        coordinated(others)
