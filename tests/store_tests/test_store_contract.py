"""What the store keeps, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from dspex_agents.database import Database
from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import JournalError, UnknownSweepError
from dspex_coordination.sweep import RowResult, SweepStore
from dspex_coordination.sweep.record import Event, RecordedRow
from dspex_ray.calls import CallRecord
from dspex_ray.data import load_data
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.demos import DemoPool
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.optimization import optimize
from dspex_ray.store import Store, open_store


def state(program: str = "shop:Route", **values: Any) -> dict[str, Any]:
    return {"program": program, "values": values, "demo_pool": None, "lm": None}


def call(id_: str, **fields: Any) -> dict[str, Any]:
    facts = {"at": 1.0, "program": "shop:Route", "model": "m", "prompt_tokens": 10, "completion_tokens": 2}
    return CallRecord(id=id_, **{**facts, **fields}).as_row()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.database.close()


class TestVersions:
    def test_versions_are_numbered_from_1_for_each_program(self, store: Store) -> None:
        saved = [
            store.save_version(state(program, t=t), {}, now=5.0)
            for program, t in (("a:A", 1), ("b:B", 1), ("a:A", 2), ("a:A", 2))
        ]
        assert [(v.program, v.number) for v in saved] == [("a:A", 1), ("b:B", 1), ("a:A", 2), ("a:A", 3)]
        assert [(v.program, v.number) for v in store.versions()] == [("a:A", 1), ("a:A", 2), ("a:A", 3), ("b:B", 1)]
        assert [v.number for v in store.versions("b:B")] == [1]

    def test_a_run_saved_twice_gives_one_version_and_another_run_gives_another(self, store: Store) -> None:
        first = store.save_version(state(t=1), {"score": 0.5}, now=5.0, run_id="r1")
        assert store.save_version(state(t=1), {"score": 0.5}, now=9.0, run_id="r1") == first
        assert store.save_version(state(t=1), {}, now=9.0, run_id="r2").number == 2
        assert store.save_version(state(t=2), {}, now=9.0, run_id="r1").number == 3

    def test_a_version_comes_back_as_it_was_saved(self, store: Store) -> None:
        kept = store.save_version(state(t=0.25), {"score": 0.5, "ü": None}, now=5.25, parent=3, run_id="r")
        loaded = store.version("shop:Route", kept.number)
        assert loaded == kept
        assert (loaded.created_at, loaded.parent, loaded.run_id) == (5.25, 3, "r")
        assert loaded.state == state(t=0.25)
        assert loaded.to_json() == {
            "program": "shop:Route",
            "version": 1,
            "hash": kept.hash,
            "created_at": 5.25,
            "parent": 3,
            "run_id": "r",
            "score": 0.5,
            "ü": None,
        }
        assert store.versions()[0].state is None

    def test_latest_is_the_highest_number_and_numbers_may_be_given_as_text(self, store: Store) -> None:
        for t in range(11):
            store.save_version(state(t=t), {}, now=1.0)
        assert store.version("shop:Route").number == 11
        assert store.version("shop:Route", "2").number == store.version("shop:Route", 2).number == 2

    def test_an_unknown_program_or_version_is_refused_with_near_matches(self, store: Store) -> None:
        store.save_version(state(), {}, now=1.0)
        with pytest.raises(UnknownNameError, match=r"program with versions 'shop:Rout'.*Did you mean 'shop:Route'"):
            store.version("shop:Rout")
        with pytest.raises(UnknownNameError, match=r"shop:Route 'lattest'.*Did you mean 'latest'.*1, latest"):
            store.version("shop:Route", "lattest")

    def test_a_state_changed_behind_the_stores_back_is_refused(self, store: Store) -> None:
        store.save_version(state(t=1), {}, now=1.0)
        with store.database.transaction() as connection:
            connection.execute(sa.text("UPDATE versions SET state = replace(state, '1', '2')"))
        with pytest.raises(ConfigurationError, match=r"Version 1 of shop:Route .* was changed after it was saved"):
            store.version("shop:Route")

    def test_a_program_with_demonstrations_comes_back_and_answers_the_same(self, store: Store) -> None:
        data = load_data(DATA, ShopRoute)
        program = ShopRoute().with_demo_pool(DemoPool(data.examples[:200])).with_lm("embedded/nearest")
        program = program.with_values({"demos": {"select": "nearest", "k": 5}})
        store.save_version(program.state(), {}, now=1.0)
        kept = store.version(program.path).state
        again = ShopRoute.from_state(kept)
        assert again.state() == program.state()

        async def answers(of: ShopRoute) -> list[Any]:
            return [(await of.acall(example.input)).model_dump() for example in data.examples[200:230]]

        assert asyncio.run(answers(again)) == asyncio.run(answers(program))


class TestCalls:
    def test_a_call_recorded_twice_counts_once(self, store: Store) -> None:
        store.record_calls([call("c1"), call("c2")])
        store.record_calls([call("c2"), call("c3")])
        store.record_calls([])
        assert store.totals().calls == 3

    def test_totals_are_summed_by_program_and_by_run(self, store: Store) -> None:
        store.record_calls(
            [
                call("1", cost_usd=0.5, run_id="r1"),
                call("2", cost_usd=0.25, run_id="r2", status="error", error="LMServerError: x", prompt_tokens=0),
                call("3", program="other:P", run_id="r1"),
            ]
        )
        every, route, run = store.totals(), store.totals(program="shop:Route"), store.totals(run_id="r1")
        assert (every.calls, every.failed, every.unpriced, every.cost_usd) == (3, 1, 1, 0.75)
        assert (route.calls, route.prompt_tokens, route.completion_tokens) == (2, 10, 4)
        assert (run.calls, run.unpriced, run.cost_usd) == (2, 1, 0.5)
        assert store.totals(program="shop:Route", run_id="r1").calls == 1
        assert store.totals(program="nobody:X").cost_usd == 0.0

    def test_text_that_a_database_would_refuse_does_not_keep_a_batch_out(self, store: Store) -> None:
        odd = call("odd", error="cut\0off \ud800", status="error", request_id="x" * 5000, model="m" * 999)
        store.record_calls([odd, call("plain")])
        with store.database.read() as connection:
            error, request_id = connection.execute(
                sa.text("SELECT error, request_id FROM calls WHERE id = 'odd'")
            ).one()
        assert (error, len(request_id)) == ("cut\ufffdoff ?", 200)
        assert store.totals().calls == 2


class TestSharing:
    def test_a_store_pickles_by_its_url(self, store: Store) -> None:
        store.record_calls([call("1")])
        again = pickle.loads(pickle.dumps(store))
        assert again.totals().calls == 1
        again.database.close()

    def test_two_processes_that_write_at_once_lose_nothing(self, url: str) -> None:
        script = textwrap.dedent(
            """
            import sys
            from dspex_ray.calls import CallRecord
            from dspex_ray.store import open_store
            url, me = sys.argv[1:]
            print("ready", flush=True)
            sys.stdin.readline()
            store = open_store(url)
            for n in range(25):
                store.save_version({"program": "a:B", "values": {"me": me, "n": n}}, {}, now=1.0)
                record = CallRecord(id=f"{me}-{n}", at=1.0, program="a:B", model="m")
                store.record_calls([record.as_row()])
            """
        )
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", script, url, me], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for me in ("x", "y")
        ]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=50)
            assert writer.returncode == 0
        store = open_store(url)
        assert [v.number for v in store.versions("a:B")] == list(range(1, 51))
        assert len({v.hash for v in store.versions("a:B")}) == 50
        assert store.totals().calls == 50
        store.database.close()

    def test_an_optimisation_keeps_its_journal_its_bill_and_its_version(self, store: Store) -> None:
        found = optimize(ShopRoute(), str(DATA), trials=2, seed=3, store=store, runtime="in-process")
        record = SweepStore(store.database).load(found.run_id)
        assert (record.status, record.trials) == ("finished", 2)
        # one call looks whether the model answers at all, before the search
        assert store.totals(run_id=found.run_id).calls == record.rows + 1
        assert store.version(found.version.program).run_id == found.run_id


class TestSweeps:
    def test_a_journal_comes_back_in_order_with_its_rows(self, database: Database) -> None:
        sweeps = SweepStore(database)
        sweeps.create("r", {"data": "d"}, {"seed": 1}, 5.0)
        entries = [Event("ask", 0, {"candidate": Candidate({"t": 1}).to_json()}), Event("tell", 0, {"failed": None})]
        results = [RecordedRow(0, RowResult(row, 0.5, {"é": "x\0"}, 0.25, 0.1, None), "w") for row in (1, 0)]
        with database.transaction() as connection:
            sweeps.append(connection, "r", 0, 6.0, entries=entries, results=results)
        assert sweeps.events("r") == entries
        assert sweeps.rows("r") == sorted(results, key=lambda one: one.result.row)
        record = sweeps.load("r")
        assert (record.status, record.trials, record.rows, record.cost_usd) == ("running", 1, 2, 0.5)
        assert (record.created_at, record.updated_at, record.fingerprint) == (5.0, 6.0, {"data": "d"})

    def test_two_drivers_of_one_sweep_are_told_apart(self, database: Database) -> None:
        sweeps = SweepStore(database)
        sweeps.create("r", {"data": "d"}, {}, 5.0)
        with pytest.raises(JournalError, match="Another process"):
            sweeps.create("r", {"data": "d"}, {}, 5.0)
        entry = Event("cancel", None, {})
        with database.transaction() as connection:
            sweeps.append(connection, "r", 0, 6.0, entries=[entry], results=[])
        with pytest.raises(JournalError, match="Another process"), database.transaction() as connection:
            sweeps.append(connection, "r", 0, 7.0, entries=[entry], results=[])
        assert len(sweeps.events("r")) == 1
        assert sweeps.load("r").updated_at == 6.0

    def test_an_unknown_sweep_is_refused_with_near_matches(self, database: Database) -> None:
        sweeps = SweepStore(database)
        sweeps.create("run-abc", {"data": "d"}, {}, 5.0)
        with pytest.raises(UnknownSweepError, match="run-abc"):
            sweeps.load("run-abd")


class TestMigrations:
    def test_a_database_of_a_newer_program_is_refused_and_says_so(self, store: Store, url: str) -> None:
        with store.database.transaction() as connection:
            connection.execute(sa.text("INSERT INTO schema_migrations (id) VALUES ('program-999-more')"))
        with pytest.raises(ConfigurationError, match=r"newer version of dspex_ray.*program-999-more.*Upgrade"):
            open_store(url)

    def test_another_owners_migrations_are_its_own_business(self, store: Store, url: str) -> None:
        SweepStore(store.database)
        with store.database.transaction() as connection:
            connection.execute(sa.text("INSERT INTO schema_migrations (id) VALUES ('plugin-001-x')"))
        again = open_store(url)
        assert SweepStore(again.database).list_sweeps() == ()
        again.database.close()
