"""Experiments in the store, on SQLite and on PostgreSQL: none is lost, and each change is in the audit record."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from dspex_agents.database import Database
from dspex_ray.errors import UsageError
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.experiments.store import ExperimentStore
from dspex_ray.store import audit_log


@pytest.fixture
def kept(database: Database) -> ExperimentStore:
    return ExperimentStore(database)


def experiment(name: str = "tone", endpoint: str = "shop") -> Experiment:
    return Experiment(name=name, endpoint=endpoint, weights={"4": 0.25, "3": 0.75}, revision=7, started_at=5.0)


def actions(database: Database) -> list[str]:
    with database.read() as connection:
        return [entry.action for entry in audit_log.entries(connection)]


def test_an_experiment_comes_back_as_it_was_kept(kept: ExperimentStore, database: Database) -> None:
    kept.add(experiment(), by="ann", at=5.0)
    back = pickle.loads(pickle.dumps(kept)).named("tone")
    assert (back, back.base) == (experiment(), "4")
    kept.change(back, back.over("stopped", 9.0), by="ann", at=9.0, details={})
    assert kept.listed() == [back.over("stopped", 9.0)]
    assert actions(database) == ["experiment.start", "experiment.stop"]


def test_of_many_that_start_at_once_on_an_endpoint_one_does(kept: ExperimentStore, database: Database) -> None:
    def start(number: int) -> bool:
        try:
            kept.add(experiment(f"e{number}"), by="ann", at=5.0)
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(start, range(6))) == 1
    assert len(kept.listed()) == 1
    assert actions(database) == ["experiment.start"]


def test_a_change_of_what_was_changed_meanwhile_is_refused(kept: ExperimentStore) -> None:
    one = experiment()
    kept.add(one, by="ann", at=5.0)
    kept.change(one, one.over("stopped", 6.0), by="ann", at=6.0, details={})
    with pytest.raises(UsageError, match="was changed meanwhile"):
        kept.change(one, one.over("promoted", 7.0, "3"), by="bob", at=7.0, details={})
    assert kept.named("tone").status == "stopped"


def test_an_experiment_that_could_not_start_frees_its_name(kept: ExperimentStore, database: Database) -> None:
    kept.add(experiment(), by="ann", at=5.0)
    kept.withdraw("tone", "busy", by="ann", at=5.0)
    kept.add(experiment(), by="ann", at=6.0)
    assert actions(database) == ["experiment.start", "experiment.withdraw", "experiment.start"]
