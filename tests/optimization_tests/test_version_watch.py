"""A watch over a label: checks on new rows, an optimisation when quality drifts, the gate, and how it goes on."""

from __future__ import annotations

import asyncio
import csv
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dspex_agents import ManualClock
from dspex_ray.data import load_data
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.demos import DemoPool
from dspex_ray.errors import DataError, InterruptedRunError, UnknownNameError, UsageError
from dspex_ray.metrics import exact
from dspex_ray.store import MoveLabel, Store, WatchStep, open_store
from dspex_ray.versions.drift import DriftPolicy, Next
from dspex_ray.versions.gate import Gate
from dspex_ray.versions.watch_plan import WatchPlan
from dspex_ray.versions.watching import Watch

HOUR = 3600.0
ROWS = load_data(str(DATA), ShopRoute).examples
PATH = ShopRoute().path
GATE, ASKED, FREE = threading.Event(), list[str](), 100


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    program = ShopRoute().with_lm("embedded/nearest").with_demo_pool(DemoPool(ROWS[:40]))
    poor = program.with_values({"demos": {"select": "fixed", "ids": [ROWS[0].id]}})
    for state in (poor.state(), program.with_values({"demos": {"select": "nearest", "k": 5}}).state()):
        opened.save_version(state, {"score": 0.5}, now=0.0)
    label(opened, 1)
    yield opened
    opened.database.close()


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes so many rows and names the file."""

    def write(count: int, start: int = 40) -> str:
        place = tmp_path / "rows.csv"
        with place.open("w", newline="", encoding="utf-8") as file:
            rows = [{**one.input, **one.output} for one in ROWS[start : start + count]]
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(place)

    return write


def label(store: Store, version: int) -> None:
    store.move_label(MoveLabel(program=PATH, label="production", kind="label", to=version, by="ann", at=0.0))


def watch(
    store: Store,
    clock: ManualClock,
    data: str,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
    **options: Any,
) -> Watch:
    defaults: dict[str, Any] = {"rows": 60, "trials": 4, "workers": 1, "runtime": "in-process"}
    plan = WatchPlan(program=PATH, data=data, **{**defaults, **options})
    return Watch(plan, store, clock=clock, progress=progress)


def kinds(store: Store) -> list[str]:
    return [one.kind for one in store.watch_steps(PATH, "production")]


def kept(found: WatchStep | Next) -> WatchStep:
    assert isinstance(found, WatchStep), found
    return found


def test_a_poor_version_is_checked_optimised_and_replaced_and_the_new_one_is_checked(
    store: Store, data: Callable[..., str]
) -> None:
    clock = ManualClock(HOUR)
    watching = watch(store, clock, data(160), promotes=True)
    first = kept(watching.step())
    assert (first.kind, first.facts["rows"], first.facts["next"]) == ("checked", 60, "optimize")
    assert first.facts["low"] <= first.facts["score"] <= first.facts["high"] < 0.7
    second = kept(watching.step())
    assert (second.kind, second.facts["new_version"]) == ("promoted", 3)
    assert store.labels(PATH) == {"production": 3}
    new = store.version(PATH, 3)
    assert (new.parent, new.run_id) == (1, second.facts["run_id"])
    assert store.label_moves(PATH)[-1].why.startswith("watch: the score")
    third = kept(watching.step())
    assert (third.kind, third.facts["version"]) == ("checked", 3)
    assert third.facts["score"] > first.facts["score"]
    assert third.facts["rows"] < 60  # those it learnt from are not new
    assert isinstance(watching.step(), Next)
    assert kinds(store) == ["checked", "begun", "promoted", "checked"]


def test_without_promotion_the_version_is_offered_and_not_made_again(store: Store, data: Callable[..., str]) -> None:
    clock = ManualClock(HOUR)
    watching = watch(store, clock, data(160))
    watching.step()
    assert kept(watching.step()).kind == "offered"
    assert store.labels(PATH) == {"production": 1}
    waits = watching.step()
    assert isinstance(waits, Next)
    assert "version 3 waits to be promoted" in waits.why
    assert waits.at == 7 * HOUR
    clock.advance(6 * HOUR)
    data(200)
    assert kept(watching.step()).facts["offered"] == 3
    assert isinstance(watching.step(), Next)
    label(store, 3)
    assert kept(watching.step()).facts["version"] == 3


def test_what_the_gate_refuses_is_tried_again_only_with_new_rows(store: Store, data: Callable[..., str]) -> None:
    clock = ManualClock(HOUR)
    watching = watch(store, clock, data(160), gate=Gate(min_gain=1.0), promotes=True, trials=2)
    watching.step()
    assert kept(watching.step()).kind == "refused"
    assert store.labels(PATH) == {"production": 1}
    clock.advance(HOUR)
    waits = watching.step()
    assert isinstance(waits, Next)
    assert "no rows that the last optimisation did not have" in waits.why
    data(165)
    assert kept(watching.step()).kind == "refused"


def test_data_that_is_gone_is_told_and_tried_again_at_the_next_check(store: Store, data: Callable[..., str]) -> None:
    clock = ManualClock(HOUR)
    place = data(100)
    watching = watch(store, clock, place, policy=DriftPolicy(threshold=0.01))
    assert kept(watching.step()).kind == "checked"
    Path(place).unlink()
    clock.advance(6 * HOUR)
    missed = kept(watching.step())
    assert missed.kind == "unchecked"
    assert "rows.csv" in missed.facts["error"]
    waits = watching.step()
    assert isinstance(waits, Next)
    assert waits.at == 13 * HOUR
    clock.advance(6 * HOUR)
    data(100)
    assert kept(watching.step()).kind == "checked"


def test_a_watch_that_never_worked_raises_what_is_wrong(store: Store, data: Callable[..., str]) -> None:
    clock = ManualClock(HOUR)
    with pytest.raises(DataError, match="nowhere"):
        watch(store, clock, "nowhere.csv").step()
    with pytest.raises(DataError, match="holds 12 rows that version 1 has not seen; at least 30"):
        watch(store, clock, data(12)).step()
    with pytest.raises(UnknownNameError, match="Did you mean 'production'"):
        watch(store, clock, data(12), label="producton")
    with pytest.raises(UsageError, match="at least 1 row and at most 60"):
        watch(store, clock, data(12), min_rows=100)
    assert kinds(store) == []


def test_what_no_optimisation_could_begin_with_is_said_before_one_is_due(
    store: Store, data: Callable[..., str]
) -> None:
    wishes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"optimizer": "no-such"}, "no-such"),
        ({"workers": 0}, "1 worker"),
        ({"trials": 0}, "trials"),
    )
    for wrong, said in wishes:
        with pytest.raises(UsageError, match=said):
            watch(store, ManualClock(HOUR), data(100), None, **wrong)


def test_an_optimisation_that_fails_is_let_be_for_a_while_and_costs_nothing_where_held_out_rows_are_gone(
    store: Store, data: Callable[..., str]
) -> None:
    clock = ManualClock(HOUR)
    watching = watch(store, clock, data(160), held_out="gone.csv")
    watching.step()
    calls = store.totals().calls
    failed = kept(watching.step())
    assert (failed.kind, "gone.csv" in failed.facts["error"]) == ("failed", True)
    assert store.totals().calls == calls
    waits = watching.step()
    assert isinstance(waits, Next)
    assert waits.at == 1.5 * HOUR


async def gated(example: Any, output: Any) -> float:
    """Score some outputs at once and the others when the gate is opened; it is open at the end of each test."""
    ASKED.append(example.id)
    while len(ASKED) > FREE and not GATE.is_set():  # noqa: ASYNC110 - the gate is opened by another thread
        await asyncio.sleep(0.002)
    return exact(example, output)


def test_an_interrupted_optimisation_is_resumed_by_its_run_id_on_the_rows_it_began_with(
    store: Store, data: Callable[..., str]
) -> None:
    clock, place = ManualClock(HOUR), data(160)

    def press(state: Mapping[str, Any]) -> None:
        if not GATE.is_set() and state["rows_done"]:
            GATE.set()
            raise KeyboardInterrupt

    ASKED.clear()
    GATE.clear()
    watching = watch(store, clock, place, metric=gated, promotes=True, progress=press)
    watching.step()
    with pytest.raises(InterruptedRunError):
        watching.step()
    assert kinds(store) == ["checked", "begun"]
    begun = store.watch_steps(PATH, "production")[-1]
    data(190)
    done = kept(watch(store, clock, place, metric=gated, promotes=True, trials=9).step())
    assert (done.kind, done.facts["run_id"]) == ("promoted", begun.facts["run_id"])
    assert store.version(PATH, 3).facts["trials"] <= 4


def test_rows_that_were_changed_meanwhile_are_not_resumed_on(store: Store, data: Callable[..., str]) -> None:
    clock = ManualClock(HOUR)
    watching = watch(store, clock, data(160))
    watching.step()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Watch, "_found", _stopped)
        with pytest.raises(KeyboardInterrupt):
            watching.step()
    data(160, 60)
    failed = kept(watching.step())
    assert failed.kind == "failed"
    assert "cannot be resumed" in failed.facts["error"]
    clock.advance(HOUR / 2)
    assert kept(watching.step()).kind == "offered"


def _stopped(*_: Any) -> Any:
    raise KeyboardInterrupt


def test_two_watches_of_one_label_do_not_go_on_side_by_side(store: Store, data: Callable[..., str]) -> None:
    step = kept(watch(store, ManualClock(HOUR), data(100)).step())
    with pytest.raises(UsageError, match="Another watch of production"):
        store.keep_watch_step(replace(step, kind="begun"))
