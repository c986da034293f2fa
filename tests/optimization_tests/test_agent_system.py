"""A program as agents in this process: typed answers, errors as they are, equal inputs at one worker, nothing lost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray import Program, Schema
from dspex_ray.agent_system import AgentSystem, ring_of, start_agent_system
from dspex_ray.calls.ledger_agent import LEDGER
from dspex_ray.errors import ConfigurationError, DspexError, InputError, UsageError
from dspex_ray.program_worker import Predict
from dspex_ray.store import Store


class OutOfStockError(DspexError):
    """The program's own kind of failure."""


class Counted(Program):
    """Answer without a model, and note which copy answered."""

    class Input(Schema):
        n: int
        tags: tuple[str, ...] = ()

    class Output(Schema):
        square: int
        worker: int

    held: ClassVar[threading.Event]

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        if input.n == 13:
            raise OutOfStockError("no thirteens left")
        if input.n == 14:
            raise ZeroDivisionError("fourteen")
        if input.n >= 1000:
            await asyncio.to_thread(self.held.wait)
        return self.Output(square=input.n * input.n, worker=id(self))


def outer_of(inner: Program) -> type[Program]:
    class Outer(Program):
        """Ask the inner program twice."""

        class Input(Schema):
            message: str

        class Output(Schema):
            intents: list[str]

        part = inner

        async def predict(self, input: Any) -> Any:  # noqa: A002 - as above
            first, second = await asyncio.gather(self.part(message=input.message), self.part(message="refund please"))
            return self.Output(intents=[first.intent, second.intent])

    return Outer


@pytest.fixture
def start(store: Store) -> Iterator[Callable[..., AgentSystem]]:
    running: list[AgentSystem] = []
    Counted.held = threading.Event()

    def begin(program: Program, **options: Any) -> AgentSystem:
        running.append(start_agent_system(program, **{"runtime": "in-process", "store": store, **options}))
        return running[-1]

    yield begin
    Counted.held.set()
    for system in running:
        system.stop()


Start = Callable[..., AgentSystem]


class TestAnswering:
    def test_answers_are_the_programs_own_output_type(self, start: Start) -> None:
        system = start(Counted())
        assert isinstance(system.run(n=3), Counted.Output)
        assert asyncio.run(system.arun(n=4)).square == 16

    def test_a_bad_field_is_told_with_its_path_before_any_agent_is_asked(self, start: Start) -> None:
        system = start(Counted())
        with pytest.raises(InputError) as caught:
            system.run(n="three", tags=["a", 5], x=1)
        assert [path for path, _ in caught.value.problems] == ["n", "tags[1]", "x"]
        with pytest.raises(InputError):
            asyncio.run(system.arun())
        assert sum(system.system.status(worker).handled for worker in system.workers) == 0
        assert sum(system.system.status(worker).failed for worker in system.workers) == 0

    def test_what_the_program_raises_reaches_the_caller_as_it_is(self, start: Start) -> None:
        system = start(Counted())
        with pytest.raises(OutOfStockError, match="no thirteens left"):
            system.run(n=13)
        with pytest.raises(ZeroDivisionError, match="fourteen"):
            asyncio.run(system.arun(n=14))
        assert system.run(n=1).square == 1

    def test_programs_call_programs_and_every_model_call_is_recorded_under_the_whole(
        self, start: Start, shop: Any, held: Any, store: Store
    ) -> None:
        inner = shop[0]().with_lm(held())
        system = start(outer_of(inner)())
        assert len(system.run(message="where is my parcel").intents) == 2
        system.stop()
        assert store.totals(program=inner.path).calls == 0
        assert store.totals(program=system.program.path).calls == 2

    def test_a_system_needs_a_worker_and_a_runtime_that_exists(self, start: Start) -> None:
        with pytest.raises(UsageError, match="at least 1 worker, got 0"):
            start(Counted(), workers=0)
        with pytest.raises(UsageError, match="'ray' or 'in-process', got 'rays'"):
            start(Counted(), runtime="rays")

    def test_a_stopped_system_says_so(self, start: Start) -> None:
        system = start(Counted())
        system.stop()
        system.stop()
        with pytest.raises(Exception, match=r"gone|closed|stopped"):
            system.run(n=1, timeout_s=2)

    def test_a_message_the_workers_do_not_know_is_refused(self, start: Start) -> None:
        system = start(Counted())
        with pytest.raises(Exception, match="takes no str"):
            system.system.ask("task-1", "hello")
        with pytest.raises(Exception, match="takes no message of type str"):
            system.system.ask(LEDGER, "hello")


class TestMeeting:
    def test_equal_inputs_meet_at_one_worker_and_different_ones_spread(self, start: Start) -> None:
        system = start(Counted(), workers=3)
        assert len({system.run(n=7, tags=["a"]).worker for _ in range(5)}) == 1
        assert len({system.run(n=n).worker for n in range(12)}) == 3

    @given(st.sets(st.text("abc-123", min_size=1), min_size=1), st.dictionaries(st.text(), st.text() | st.integers()))
    def test_a_worker_that_leaves_moves_only_its_own_inputs(self, names: set[str], fields: dict[str, Any]) -> None:
        workers = tuple(sorted(names))
        ring = ring_of(workers, fields)
        assert sorted(ring) == list(workers)
        for gone in workers:
            rest = tuple(name for name in workers if name != gone)
            assert ring_of(rest, fields) == tuple(name for name in ring if name != gone)

    @given(st.permutations([("a", 1), ("b", [1, {"x": None}]), ("c", "é")]))
    def test_the_order_of_fields_and_of_workers_does_not_matter(self, items: list[tuple[str, Any]]) -> None:
        workers = ("task-1", "task-2", "task-3")
        expected = ring_of(workers, {"a": 1, "b": [1, {"x": None}], "c": "é"})
        assert ring_of(workers[::-1], dict(items)) == expected

    def test_inputs_spread_evenly(self) -> None:
        workers = ("task-1", "task-2", "task-3", "task-4")
        firsts = Counter(ring_of(workers, {"n": n})[0] for n in range(2000))
        assert min(firsts.values()) > 400


class TestSurviving:
    def test_requests_under_way_in_a_process_that_is_killed_are_answered_by_another(
        self, start: Start, kill_host: Callable[[AgentSystem, str], None], wait: Any
    ) -> None:
        system = start(Counted(), workers=2)
        asked = range(1000, 1040)
        answers: list[Any] = []

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(system.arun(n=n) for n in asked))

        asker = threading.Thread(target=lambda: answers.extend(asyncio.run(all_at_once())))
        asker.start()
        wait(lambda: sum(system.system.status(w).in_flight for w in system.workers) == len(asked))
        under_way = system.system.status("task-1").in_flight
        assert under_way > 5
        kill_host(system, "task-1")
        wait(lambda: system.system.status("task-2").in_flight == len(asked))
        Counted.held.set()
        asker.join(20)
        assert [answer.square for answer in answers] == [n * n for n in asked]
        assert next(node.restarts for node in system.tree().agents() if node.id == "task-1") == 1

    def test_a_system_of_one_worker_answers_after_its_restart(
        self, start: Start, kill_host: Callable[[AgentSystem, str], None], wait: Any
    ) -> None:
        system = start(Counted(), workers=1)
        answers: list[Any] = []
        asker = threading.Thread(target=lambda: answers.append(system.run(n=1000)))
        asker.start()
        wait(lambda: system.system.status("task-1").in_flight == 1)
        kill_host(system, "task-1")
        Counted.held.set()
        asker.join(20)
        assert answers[0].square == 1_000_000

    def test_health_is_that_of_the_whole_tree(
        self, start: Start, kill_host: Callable[[AgentSystem, str], None], wait: Any
    ) -> None:
        system = start(Counted(), workers=3)
        health = system.health()
        assert (health.agents, health.alive, health.score, health.band) == (8, 8, 100.0, "excellent")
        kill_host(system, "task-2")
        wait(lambda: system.health().alive == 8)


class TestRecording:
    def test_every_model_call_is_in_the_ledger_once_the_system_has_stopped(
        self, start: Start, shop: Any, held: Any, store: Store
    ) -> None:
        system = start(shop[0]().with_lm(held()), version="7")
        for n in range(30):
            system.run(message=f"message {n}")
        system.stop()
        totals = store.totals(program=shop[0]().path)
        assert (totals.calls, totals.failed, totals.cost_usd) == (30, 0, pytest.approx(0.03))
        with store.database.read() as connection:
            rows = connection.exec_driver_sql("SELECT DISTINCT version, request_id FROM calls").all()
        assert len(rows) == 30
        assert {version for version, _ in rows} == {"7"}

    def test_calls_under_way_when_the_system_stops_are_recorded_as_failed(
        self, start: Start, shop: Any, held: Any, store: Store, wait: Any
    ) -> None:
        held.reset(free=0)
        system = start(shop[0]().with_lm(held()))
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                system.run(message="where is it?")
            except Exception as error:  # noqa: BLE001 - the test looks at it
                caught.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        wait(lambda: held.started == 1)
        system.stop()
        asker.join(20)
        assert caught
        assert (store.totals().calls, store.totals().failed) == (1, 1)

    def test_the_running_systems_totals_are_the_ledgers(self, start: Start, shop: Any, held: Any, wait: Any) -> None:
        system = start(shop[0]().with_lm(held()))
        answer = system.system.ask("task-1", Predict({"message": "hello"}))
        assert (answer.calls, answer.cost_usd) == (1, pytest.approx(0.001))
        wait(lambda: system.totals().calls == 1)
        assert system.totals().cost_usd == pytest.approx(0.001)

    def test_the_store_is_found_through_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, shop: Any
    ) -> None:
        monkeypatch.setenv("DSPEX_STORE", str(tmp_path / "env.db"))
        with shop[0]().to_agent_system(runtime="in-process") as system:
            system.run(message="hello")
        assert (tmp_path / "env.db").is_file()

    def test_a_store_that_cannot_be_used_keeps_the_system_from_starting(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, shop: Any
    ) -> None:
        (tmp_path / "notes").write_text(json.dumps(["not a database"] * 99), encoding="utf-8")
        monkeypatch.setenv("DSPEX_STORE", str(tmp_path / "notes"))
        with pytest.raises(ConfigurationError, match="not a SQLite database"):
            shop[0]().to_agent_system(runtime="in-process")
