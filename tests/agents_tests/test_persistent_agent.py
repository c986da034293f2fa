"""Persistent agents: named fields outlive the incarnation, whole and in order, and a late one cannot write."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import pickle
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from foundation_samples import Bench
from persistent_samples import Counter, CounterState, Total
from pydantic import BaseModel, ConfigDict, Field

from dspex_agents import (
    Action,
    Agent,
    AgentExit,
    AgentStoppedError,
    ChildSpec,
    Database,
    ManualClock,
    SpecError,
    StoreError,
    SupervisorSpec,
    System,
    SystemSpec,
    start_local_system,
)
from dspex_agents.actions.action_call import ActionCall
from dspex_agents.actions.decision import Decision
from dspex_agents.actions.directive import DeleteState, SetState
from dspex_agents.roles.foundation_messages import GetState
from dspex_agents.roles.persistent_agent import PersistentAgent
from dspex_agents.state.snapshot import FencedError, Snapshot, SnapshotError
from dspex_agents.state.snapshot_keeper import SnapshotKeeper
from dspex_agents.state.snapshot_store import SnapshotStore
from dspex_agents.testing import LoneHost


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(str(tmp_path / "store.db"))
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> SnapshotStore:
    return SnapshotStore(database, "tests")


class Broken(SnapshotStore):
    """A store whose next saves fail, with what the test put there."""

    errors: list[Exception]

    def save(self, agent: str, epoch: int, fields: Mapping[str, Any], at: float) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return super().save(agent, epoch, fields, at)


@pytest.fixture
def broken(database: Database) -> Broken:
    made = Broken(database, "tests")
    made.errors = []
    return made


class Lives:
    """Incarnations of one agent, each on a lone host, under epochs that grow."""

    def __init__(self, store: SnapshotStore) -> None:
        self.store, self.epoch = store, 0

    def begin(self, kind: type[PersistentAgent] = Counter, **options: Any) -> Any:
        """Return a bench with the next incarnation, not yet started."""
        self.epoch += 1
        bench = Bench(kind, **{"store": self.store, **options})
        bench.agent.context = bench.host.context("agent-1", self.epoch)
        return bench

    def stored(self) -> Mapping[str, Any] | None:
        found = self.store.load("agent-1")
        return None if found is None else found.fields


@pytest.fixture
def lives(store: SnapshotStore) -> Lives:
    return Lives(store)


def add(key: str, by: int = 1) -> ActionCall:
    return ActionCall("Add", {"key": key, "by": by})


class Settable(BaseModel):
    """Fields of any kind, by the names that the old whitelist did not have."""

    limits: dict[int, float] = {}
    seen: set[str] = set()
    since: dt.datetime | None = None
    anything: Any = None
    ratio: float = 0.0
    secret: str = Field(default="", exclude=True)
    handle: Agent | None = None

    model_config = ConfigDict(arbitrary_types_allowed=True)


class Values(BaseModel):
    values: Any = {}


class Put(Action[Values, Total]):
    """Set fields of the state."""

    async def run(self, params: Values, context: Mapping[str, Any]) -> Decision:
        return Decision(Total(total=0), SetState(params.values))


class Keeper(PersistentAgent):
    actions = (Put,)
    State = Settable
    persistent_fields = ("limits", "seen", "since", "anything", "ratio")


def put(**values: Any) -> ActionCall:
    return ActionCall("Put", {"values": values})


# what is kept -------------------------------------------------------------------------------------------------------
def test_named_fields_come_back_and_the_others_begin_anew(lives: Lives) -> None:
    first = lives.begin()
    assert first.run(add("a", 2), add("b", 3)) == Total(total=5)
    assert first.agent.state == CounterState(total=5, done={"a": 2, "b": 5}, runs=2)
    second = lives.begin()
    second.run()
    assert second.agent.state == CounterState(total=5, done={"a": 2, "b": 5}, runs=0)
    assert second.run(add("b", 3)) == Total(total=5)


def test_bug_a_fixed_whitelist_dropped_every_other_declared_field(lives: Lives) -> None:
    since = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    lives.begin(Keeper).run(put(limits={3: 0.5}, seen={"a", "b"}, since=since, anything={"deep": [1, None]}))
    after = lives.begin(Keeper)
    after.run()
    assert after.agent.state == Settable(limits={3: 0.5}, seen={"a", "b"}, since=since, anything={"deep": [1, None]})


def test_fields_may_be_named_by_the_constructor_in_place_of_the_class(lives: Lives) -> None:
    lives.begin(persistent_fields={"runs"}).run(add("a"), add("b"))
    assert lives.stored() == {"runs": 2}


def test_values_given_to_the_constructor_are_the_defaults_that_stored_ones_lie_over(lives: Lives) -> None:
    first = lives.begin(state={"total": 100, "runs": 7})
    assert first.run(add("a")) == Total(total=101)
    second = lives.begin(state={"total": 500, "runs": 9})
    second.run()
    assert (second.agent.state.total, second.agent.state.runs) == (101, 9)


def test_a_field_that_was_deleted_comes_back_as_its_default(lives: Lives) -> None:
    class Clear(Action[Values, Total]):
        async def run(self, params: Values, context: Mapping[str, Any]) -> Decision:
            return Decision(Total(total=0), DeleteState("total"))

    lives.begin(actions=[Clear]).run(add("a", 5), ActionCall("Clear"))
    assert lives.begin().run(ActionCall("Read")) == Total(total=0)


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: type("Bad", (Counter,), {"persistent_fields": ("total", "totl")}), "names totl, which State does not"),
        (lambda: type("Bad", (Counter,), {"persistent_fields": "total"}), "must be a set of names, got 'total'"),
        (lambda: type("Bad", (Keeper,), {"persistent_fields": ("secret",)}), "secret is excluded from the model's"),
        (lambda: type("Bad", (Keeper,), {"persistent_fields": ("handle",)}), r"as JSON: handle \("),
    ],
)
def test_a_field_that_cannot_be_kept_is_a_named_error_when_the_class_is_made(
    declare: Callable[[], Any], told: str
) -> None:
    with pytest.raises(SpecError, match=told):
        declare()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"persistent_fields": ("pid",)}, "names pid, which State does not have. It has: total, done, runs"),
        ({"persistent_fields": ()}, "persistent_fields is empty"),
        ({"durability": "never"}, "durability must be one of 'sync', 'async', 'exit', got 'never'"),
        ({"durability": "async", "max_delay_s": 0}, "max_delay_s must be a number of seconds above 0, got 0"),
    ],
)
def test_an_agent_that_cannot_keep_its_state_is_a_named_error(lives: Lives, options: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        lives.begin(**options)


def test_bug_stored_process_ids_went_stale(lives: Lives) -> None:
    """Only JSON of the named fields is stored; the process is told to the registry anew by each incarnation."""
    first = lives.begin()
    first.run(add("a"))
    second = lives.begin()
    second.run()
    assert lives.stored() == {"done": {"a": 1}, "total": 1}
    for bench in (first, second):
        ((_, epoch, changes),) = bench.host.updates
        assert (epoch, changes["metadata"]["pid"] > 0) == (bench.agent.context.epoch, True)


# hooks --------------------------------------------------------------------------------------------------------------
class Hooked(Counter):
    """Notes the calls of its hooks around the store."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.called = list[tuple[str, dict[str, Any]]]()

    async def on_after_load(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        self.called.append(("load", dict(fields)))
        return await super().on_after_load(fields)

    async def on_mount(self, context: Any) -> None:
        self.called.append(("mount", {"total": self.state.total}))

    async def on_before_save(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        self.called.append(("save", {"total": fields["total"]}))
        return await super().on_before_save(fields)


def test_bug_the_save_hook_had_the_wrong_arity_so_that_saves_did_not_fire(lives: Lives) -> None:
    first = lives.begin(Hooked)
    first.run(add("a", 4))
    assert first.agent.called == [("mount", {"total": 0}), ("save", {"total": 4})]
    assert lives.stored() == {"done": {"a": 4}, "total": 4}
    second = lives.begin(Hooked)
    second.run(add("b"))
    assert second.agent.called == [
        ("load", {"done": {"a": 4}, "total": 4}),
        ("mount", {"total": 4}),
        ("save", {"total": 5}),
    ]


def test_what_an_earlier_version_stored_can_be_migrated_or_fails_the_start_by_name(
    lives: Lives, store: SnapshotStore
) -> None:
    class Migrating(Counter):
        async def on_after_load(self, fields: dict[str, Any]) -> Mapping[str, Any]:
            return {"total": int(fields["count"]), "done": {}} if "count" in fields else fields

    store.save("agent-1", 0, {"count": "7"}, 0.0)
    with pytest.raises(SnapshotError, match=r"fields that 'CounterState' does not keep: count\. Rename or remove"):
        lives.begin().run()
    assert lives.begin(Migrating).run(add("a")) == Total(total=8)
    assert lives.begin().run(ActionCall("Read")) == Total(total=8)


def test_a_stored_state_that_breaks_the_schema_fails_the_start_with_every_field(
    lives: Lives, store: SnapshotStore
) -> None:
    store.save("agent-1", 0, {"total": "secret", "done": {"a": "x"}}, 0.0)
    with pytest.raises(SnapshotError, match=r"does not fit 'CounterState': total: .*; done\.a: ") as caught:
        lives.begin().run()
    assert "secret" not in f"{caught.value}{caught.value.__context__}"
    assert lives.stored() == {"total": "secret", "done": {"a": "x"}}


@pytest.mark.parametrize("hook", ["on_after_load", "on_before_save"])
def test_a_hook_that_forgets_to_return_the_fields_is_a_named_error(lives: Lives, hook: str) -> None:
    async def forgetful(self: Any, fields: dict[str, Any]) -> None:
        return

    lives.begin().run(add("a"))
    forgetting = type("Forgetting", (Counter,), {hook: forgetful})
    with pytest.raises(SpecError, match=f"{hook} must return the fields, got None"):
        lives.begin(forgetting).run(add("b"))


def test_a_save_hook_that_begins_another_change_is_refused_instead_of_waiting_for_itself(lives: Lives) -> None:
    class Nested(Counter):
        async def on_before_save(self, fields: dict[str, Any]) -> Mapping[str, Any]:
            await self.carry_out(SetState({"total": 0}))
            return fields

    with pytest.raises(SpecError, match="may not begin another one"):
        lives.begin(Nested).run(add("a"))


# saving -------------------------------------------------------------------------------------------------------------
def test_only_what_has_changed_is_saved(lives: Lives) -> None:
    bench = lives.begin()
    bench.run(ActionCall("Read"), add("a"), add("a"), ActionCall("Read"), add("b"))
    assert bench.agent.details()["persistence"] == {
        "durability": "sync",
        "revision": 3,
        "saves": 3,
        "unsaved": False,
        "save_failures": 0,
        "last_save_error": "",
    }


def test_a_change_that_cannot_be_saved_is_none(broken: Broken) -> None:
    lives = Lives(broken)
    bench = lives.begin()
    broken.errors = [StoreError("the disk is full")]
    with pytest.raises(StoreError, match="the disk is full"):
        bench.run(add("a"))
    assert bench.agent.state == CounterState()
    assert bench.agent.details()["persistence"]["save_failures"] == 1
    assert asyncio.run(bench.agent.on_message(add("b"))) == Total(total=1)
    assert lives.stored() == {"done": {"b": 1}, "total": 1}


def test_after_a_save_of_unknown_outcome_the_next_one_is_made_even_if_nothing_has_changed(
    broken: Broken, store: SnapshotStore
) -> None:
    lives = Lives(broken)
    bench = lives.begin()
    bench.run(add("a"))
    store.save("agent-1", 1, {"done": {}, "total": 99}, 0.0)  # what reached the database before the connection broke
    broken.errors = [StoreError("the connection broke")]
    with pytest.raises(StoreError):
        asyncio.run(bench.agent.on_message(add("b")))
    asyncio.run(bench.agent.on_message(ActionCall("Read")))
    assert lives.stored() == {"done": {"a": 1}, "total": 1}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize(
    ("values", "told"),
    [({"ratio": float("nan")}, "Field 'ratio' cannot be stored"), ({"anything": Agent()}, "cannot be stored as JSON")],
)
def test_a_state_that_is_no_json_is_refused_at_once_in_every_durability(
    lives: Lives, durability: Any, values: dict[str, Any], told: str
) -> None:
    bench = lives.begin(Keeper, durability=durability)
    with pytest.raises(SnapshotError, match=told):
        bench.run(put(ratio=0.5), put(**values))
    assert bench.agent.state.ratio == 0.5


def test_changes_under_way_at_once_are_saved_in_the_order_in_which_they_were_made(lives: Lives) -> None:
    class Wide(Counter):
        concurrency = 8

    async def life() -> None:
        bench = lives.begin(Wide)
        await bench.agent.on_start()
        seen = list[int]()
        save = lives.store.save

        def noting(agent: str, epoch: int, fields: Mapping[str, Any], at: float) -> int:
            seen.append(fields["total"])
            return save(agent, epoch, fields, at)

        lives.store.save = noting  # type: ignore[method-assign] # to see the order of the calls
        await asyncio.gather(*(bench.agent.on_message(ActionCall("Set", {"values": {"total": n}})) for n in range(50)))
        assert seen == list(range(50))
        assert bench.agent.state.total == 49

    class Set(Put):
        pass

    Wide.actions = (*Wide.actions, Set)
    asyncio.run(life())
    stored = lives.stored()
    assert stored is not None
    assert stored["total"] == 49


def test_a_save_that_has_begun_becomes_whole_though_its_asker_gives_up(lives: Lives) -> None:
    gate, begun = threading.Event(), threading.Event()
    save = lives.store.save

    def slow(agent: str, epoch: int, fields: Mapping[str, Any], at: float) -> int:
        begun.set()
        gate.wait(20)
        return save(agent, epoch, fields, at)

    lives.store.save = slow  # type: ignore[method-assign] # to give up in the middle of it

    async def life() -> None:
        bench = lives.begin()
        await bench.agent.on_start()
        asking = asyncio.create_task(bench.agent.on_message(add("a")))
        await asyncio.to_thread(begun.wait, 20)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gate.set()
        assert await bench.agent.on_message(add("b")) == Total(total=2)
        await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    assert lives.stored() == {"done": {"a": 1, "b": 2}, "total": 2}


# durabilities -------------------------------------------------------------------------------------------------------
class Sleeper:
    """What waits in place of asyncio.sleep: until the test lets it go on."""

    def __init__(self) -> None:
        self.asked = list[float]()
        self.gates = list[asyncio.Event]()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.gates.append(gate := asyncio.Event())
        await gate.wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the agent tells of nothing
            await asyncio.sleep(0.001)


def test_async_saves_many_changes_at_once_within_the_delay(lives: Lives) -> None:
    sleeper = Sleeper()

    async def life() -> None:
        bench = lives.begin(durability="async", max_delay_s=0.2, sleep=sleeper)
        await bench.agent.on_start()
        for n in range(10):
            await bench.agent.on_message(add(f"k{n}"))
        await until(lambda: bool(sleeper.gates))
        assert sleeper.asked == [0.2]
        assert lives.stored() is None
        assert bench.agent.details()["persistence"]["unsaved"]
        sleeper.gates[0].set()
        await until(lambda: not bench.agent.details()["persistence"]["unsaved"])
        figures = bench.agent.details()["persistence"]
        assert (figures["saves"], figures["revision"]) == (1, 1)
        await bench.agent.on_message(add("one more"))
        await until(lambda: len(sleeper.gates) == 2)
        await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    stored = lives.stored()
    assert stored is not None
    assert stored["total"] == 11


def test_a_save_in_the_background_that_fails_is_told_and_tried_again(
    broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    sleeper = Sleeper()
    broken.errors = [StoreError("locked"), sqlite3.OperationalError("odd")]
    lives = Lives(broken)

    async def life() -> None:
        bench = lives.begin(durability="async", sleep=sleeper)
        await bench.agent.on_start()
        await bench.agent.on_message(add("a"))
        for n in range(3):
            await until(lambda n=n: len(sleeper.gates) == n + 1)
            sleeper.gates[n].set()
        await until(lambda: not bench.agent.details()["persistence"]["unsaved"])
        assert bench.agent.details()["persistence"]["save_failures"] == 2
        assert bench.heard.names.count("agent.error") == 2
        await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    assert lives.stored() == {"done": {"a": 1}, "total": 1}
    assert caplog.text.count("the state of agent 'agent-1' is not saved") == 2


def test_exit_saves_at_the_end_alone(lives: Lives) -> None:
    async def life() -> None:
        bench = lives.begin(durability="exit")
        await bench.agent.on_start()
        await bench.agent.on_message(add("a"))
        await bench.agent.on_message(add("b"))
        assert lives.stored() is None
        await bench.agent.on_stop("crashed")
        assert bench.agent.details()["persistence"]["saves"] == 1

    asyncio.run(life())
    assert lives.stored() == {"done": {"a": 1, "b": 2}, "total": 2}


def test_what_is_changed_at_shutdown_is_saved_too_and_a_failing_shutdown_loses_nothing(lives: Lives) -> None:
    class Closing(Counter):
        async def on_shutdown(self, reason: str) -> None:
            await self.carry_out(SetState({"total": 77}))
            raise ValueError("no clean end")

    async def life() -> None:
        bench = lives.begin(Closing, durability="exit")
        await bench.agent.on_start()
        with pytest.raises(ValueError, match="no clean end"):
            await bench.agent.on_stop("shutdown")

    asyncio.run(life())
    assert lives.stored() == {"done": {}, "total": 77}


def test_a_last_save_that_fails_is_told(broken: Broken) -> None:
    broken.errors = [StoreError("the disk is full")]
    lives = Lives(broken)

    async def life() -> None:
        bench = lives.begin(durability="exit")
        await bench.agent.on_start()
        await bench.agent.on_message(add("a"))
        with pytest.raises(StoreError, match="the disk is full"):
            await bench.agent.on_stop("shutdown")
        assert bench.heard.names[-2:] == ["agent.error", "agent.terminated"]

    asyncio.run(life())


# fencing ------------------------------------------------------------------------------------------------------------
def both(lives: Lives, story: Callable[[Any, Any], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Start one incarnation, then the next while the first still lives, and tell the story of both."""

    async def life() -> None:
        old, new = lives.begin(**options), lives.begin(**options)
        await old.agent.on_start()
        await old.agent.on_message(add("a"))
        await new.agent.on_start()
        await story(old.agent, new.agent)

    asyncio.run(life())


def test_a_late_incarnation_cannot_write_and_ends_abnormally(lives: Lives) -> None:
    async def story(old: Any, new: Any) -> None:
        assert await new.on_message(add("b")) == Total(total=2)
        with pytest.raises(AgentExit, match="fenced off: epoch 2 has claimed its state"):
            await old.on_message(add("late", 100))
        assert old.state.total == 1
        assert lives.stored() == {"done": {"a": 1, "b": 2}, "total": 2}
        with pytest.raises(AgentExit):  # whoever asked may have given up: the next message ends it all the same
            await old.on_message(ActionCall("Read"))
        await old.on_stop("fenced off")
        assert await new.on_message(add("c")) == Total(total=3)

    both(lives, story)


def test_a_late_incarnation_that_saves_in_the_background_ends_as_well(
    lives: Lives, caplog: pytest.LogCaptureFixture
) -> None:
    sleeper = Sleeper()

    async def story(old: Any, new: Any) -> None:
        await until(lambda: len(sleeper.gates) == 1)
        sleeper.gates[0].set()
        await until(lambda: old.details()["persistence"]["save_failures"] == 1)
        with pytest.raises(AgentExit, match="fenced off"):
            await old.on_message(ActionCall("Read"))
        await old.on_stop("fenced off")
        assert old.details()["persistence"]["save_failures"] == 1
        assert lives.stored() is None

    both(lives, story, durability="async", sleep=sleeper)
    assert "fenced off" in caplog.text


def test_a_late_incarnation_cannot_save_at_its_end_either(lives: Lives) -> None:
    async def story(old: Any, new: Any) -> None:
        with pytest.raises(FencedError):
            await old.on_stop("shutdown")
        await new.on_message(add("b"))
        await new.on_stop("shutdown")
        assert lives.stored() == {"done": {"b": 1}, "total": 1}

    both(lives, story, durability="exit")


def test_an_incarnation_older_than_the_stored_one_does_not_start(lives: Lives, store: SnapshotStore) -> None:
    store.claim("agent-1", 9, 0.0)
    with pytest.raises(FencedError, match="epoch 9 has claimed"):
        lives.begin().run()


# plain agents -------------------------------------------------------------------------------------------------------
class PlainCounter(Agent):
    """No foundation agent: it keeps its number through a keeper of its own."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store

    async def on_start(self) -> None:
        self.keeper = SnapshotKeeper(self._store, self.context, on_failure=print)
        self.n = (await self.keeper.load() or {"n": 0})["n"]

    async def on_message(self, body: Any) -> int:
        self.n += body
        await self.keeper.keep({"n": self.n})
        return self.n

    async def on_stop(self, reason: str) -> None:
        await self.keeper.close()


def test_any_agent_can_keep_its_state(store: SnapshotStore) -> None:
    async def life(epoch: int) -> int:
        agent = PlainCounter(store)
        agent.context = LoneHost(ManualClock(5.0)).context("plain", epoch)
        await agent.on_start()
        n = await agent.on_message(2)
        await agent.on_stop("shutdown")
        return n

    assert [asyncio.run(life(epoch)) for epoch in (1, 2, 3)] == [2, 4, 6]
    assert store.load("plain") == Snapshot("plain", 3, 3, 5.0, {"n": 6})


# in a system --------------------------------------------------------------------------------------------------------
@pytest.fixture
def start(store: SnapshotStore) -> Iterator[Callable[..., System]]:
    with contextlib.ExitStack() as stack:

        def begin(name: str = "counters", **fields: Any) -> System:
            top = SupervisorSpec(id="top", children=(counter(store, **fields),), intensity=5)
            return stack.enter_context(start_local_system(SystemSpec(name=name, supervisor=top)))

        yield begin


def counter(store: SnapshotStore, durability: str = "sync", **fields: Any) -> ChildSpec:
    return ChildSpec(id="counter", start=Counter, kwargs={"store": store, "durability": durability}, **fields)


def test_a_persistent_agents_specification_travels_to_another_process(store: SnapshotStore) -> None:
    lives = Lives(store)
    lives.begin().run(add("a"))
    spec = pickle.loads(pickle.dumps(counter(store)))
    agent = spec.start(**spec.kwargs)
    agent.context = LoneHost(ManualClock()).context("agent-1", 2)
    asyncio.run(agent.on_start())
    assert agent.state.total == 1
    agent._store.close()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_bug_no_agent_used_persistence_a_crashed_one_comes_back_with_its_state(
    start: Callable[..., System], durability: str
) -> None:
    system = start(durability=durability)
    assert [system.ask("counter", add(key)).total for key in ("a", "b", "a")] == [1, 2, 1]
    with pytest.raises(AgentStoppedError, match="crashed on request"):
        system.ask("counter", ActionCall("Crash"))
    assert system.ask("counter", add("b")) == Total(total=2)
    assert system.ask("counter", add("c")) == Total(total=3)
    assert system.ask("counter", GetState(), control=True).runs == 1


def test_bug_state_did_not_outlive_the_node_a_new_system_goes_on_with_it(start: Callable[..., System]) -> None:
    system = start()
    system.ask("counter", add("a"))
    system.stop()
    assert start().ask("counter", ActionCall("Read")) == Total(total=1)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_stopping_and_starting_again_is_hibernating_and_thawing(
    start: Callable[..., System], store: SnapshotStore, durability: str
) -> None:
    system = start(durability=durability)
    system.ask("counter", add("a", 5))
    assert system.stop_child("counter", "hibernate")
    assert store.load("counter") is not None
    system.start_child("top", counter(store))
    assert system.ask("counter", ActionCall("Read")) == Total(total=5)


def test_of_two_systems_with_the_same_agent_the_late_one_is_fenced_off(start: Callable[..., System]) -> None:
    old = start("old", restart="temporary")
    old.ask("counter", add("a"))
    new = start("new", restart="temporary")
    assert new.ask("counter", add("b")) == Total(total=2)
    with pytest.raises(AgentStoppedError, match="fenced off"):
        old.ask("counter", add("late"))
    (node,) = old.tree().agents()
    assert node.status not in ("idle", "processing")
    assert node.last_reason.startswith("fenced off")
    assert new.ask("counter", ActionCall("Read")) == Total(total=2)
