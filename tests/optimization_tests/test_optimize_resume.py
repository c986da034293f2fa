"""A run that breaks in the middle ends as if it had not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dspex_coordination.sweep import SweepSettings, SweepStore
from dspex_ray import Program, optimize
from dspex_ray.agent_system import AgentSystem
from dspex_ray.errors import InterruptedRunError, UsageError
from dspex_ray.optimized import Optimized
from dspex_ray.store import Store

Shop = tuple[type[Program], str]


@pytest.fixture
def run(shop: Shop, held: Any) -> Callable[..., Optimized]:
    def start(store: Store, **options: Any) -> Optimized:
        program = shop[0]().with_lm(held())
        defaults = {"trials": 5, "seed": 7, "runtime": "in-process", "store": store}
        return optimize(program, shop[1], **{**defaults, **options})

    return start


def same(broken: Optimized, whole: Optimized) -> bool:
    return (broken.version.hash, broken.history, broken.score) == (whole.version.hash, whole.history, whole.score)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_coordinator_killed_in_the_middle_changes_no_result_and_bills_at_most_what_was_out_again(
    run: Callable[..., Optimized],
    make_store: Callable[[], Store],
    held: Any,
    systems: list[AgentSystem],
    kill_host: Callable[[AgentSystem, str], None],
    workers: int,
) -> None:
    whole_store, broken_store = make_store(), make_store()
    whole = run(whole_store, workers=workers)
    killed: list[Mapping[str, Any]] = []

    def kill_once_all_is_held(state: Mapping[str, Any]) -> None:
        system = systems[-1]
        # two units at each worker, none of which can end: the coordinator has nothing to write
        if not killed and [system.system.status(name).in_flight for name in system.workers] == [2] * workers:
            if held.started - held.answered < 2 * workers or held.answered < held.free:
                return
            killed.append(state)
            kill_host(system, "coordinator")
            held.gate.set()

    held.reset(free=250)
    broken = run(broken_store, workers=workers, progress=kill_once_all_is_held)
    assert killed
    assert 0 < killed[0]["rows_done"] < 250
    assert same(broken, whole)
    assert systems[-1].workers == tuple(f"task-{number + 1}" for number in range(workers))
    bills = [store.totals(run_id=found.run_id) for store, found in ((whole_store, whole), (broken_store, broken))]
    # a unit that is asked again is done again only if it comes to another worker, who does not know that it was asked
    again = bills[1].calls - bills[0].calls
    assert again == 0 if workers == 1 else 0 <= again <= 2 * workers * SweepSettings().chunk
    assert [found.cost_usd for found in (whole, broken)] == pytest.approx([0.001 * bill.calls for bill in bills])


def test_a_worker_killed_in_the_middle_changes_no_score(
    run: Callable[..., Optimized],
    make_store: Callable[[], Store],
    held: Any,
    systems: list[AgentSystem],
    kill_host: Callable[[AgentSystem, str], None],
) -> None:
    whole = run(make_store())
    killed: list[bool] = []

    def kill_once_all_is_held(_: Mapping[str, Any]) -> None:
        if not killed and held.answered >= held.free:
            killed.append(True)
            kill_host(systems[-1], "task-1")
            held.gate.set()

    held.reset(free=100)
    store = make_store()
    broken = run(store, progress=kill_once_all_is_held)
    assert killed
    assert same(broken, whole)
    kept = SweepStore(store.database)
    (closing,) = kept.trials(broken.run_id)[len(whole.history) :]
    looked = len(kept.rows(broken.run_id, closing.number))
    assert kept.load(broken.run_id).rows == sum(len(trial.scores) for trial in whole.history) + looked


def test_ctrl_c_says_how_to_resume_and_resuming_gives_what_the_whole_run_would(
    run: Callable[..., Optimized], make_store: Callable[[], Store], held: Any
) -> None:
    whole = run(make_store())

    def stop(_: Mapping[str, Any]) -> None:
        if held.answered >= held.free:
            raise KeyboardInterrupt

    store = make_store()
    held.reset(free=200)
    with pytest.raises(InterruptedRunError, match=r"Resume it with resume='run-") as caught:
        run(store, progress=stop)
    run_id = caught.value.run_id
    recorded = SweepStore(store.database).load(run_id).rows
    assert 0 < recorded < 250
    held.reset(free=10**9)
    resumed = run(store, resume=run_id)
    assert same(resumed, whole)
    assert resumed.run_id == run_id
    rows = SweepStore(store.database).load(run_id).rows
    assert held.answered == rows - recorded  # only what was not recorded is asked again

    again = run(store, resume=run_id)  # a finished run is told, not run
    assert held.answered == rows - recorded
    assert again.version == resumed.version
    assert [v.number for v in store.versions()] == [1]


def test_ctrl_c_before_the_search_has_begun_offers_nothing_to_resume(
    run: Callable[..., Optimized], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("dspex_ray.optimization.start_agent_system", stop)
    with pytest.raises(KeyboardInterrupt):
        run(store)


@pytest.mark.parametrize(
    ("change", "said"), [({"seed": 8}, "seed: was 7, is now 8"), ({"metric": "contains"}, "metric")]
)
def test_a_run_is_resumed_only_as_what_it_was(
    run: Callable[..., Optimized], store: Store, change: dict[str, Any], said: str
) -> None:
    found = run(store, trials=1)
    with pytest.raises(UsageError, match=f"cannot be resumed(.|\n)*{said}"):
        run(store, resume=found.run_id, **change)


def test_more_trials_go_on_from_where_the_run_ended(run: Callable[..., Optimized], store: Store) -> None:
    short = run(store, trials=2, optimizer="random")
    longer = run(store, trials=4, optimizer="random", resume=short.run_id)
    assert longer.history[:2] == short.history
    assert len(longer.history) == 4
