"""Snapshots of agents on both databases: the latest one of each, behind a fence against late incarnations."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspex_agents.database import Database
from dspex_agents.errors import SpecError, StoreError
from dspex_agents.state.snapshot import FencedError, Snapshot, SnapshotError
from dspex_agents.state.snapshot_store import SNAPSHOT_MIGRATIONS, SnapshotStore


@pytest.fixture
def store(database: Database) -> SnapshotStore:
    return SnapshotStore(database, "orders")


@pytest.fixture
def others(url: str) -> Iterator[list[SnapshotStore]]:
    """Return stores of the same database, each with connections of its own, as in other processes."""
    made = [SnapshotStore(Database(url), "orders") for _ in range(4)]
    yield made
    for other in made:
        other.close()


def test_what_was_saved_last_is_what_the_next_incarnation_claims(store: SnapshotStore) -> None:
    assert store.claim("cart", 1, 10.0) is None
    assert store.load("cart") is None
    assert store.save("cart", 1, {"n": 1}, 11.0) == 1
    assert store.save("cart", 1, {"n": 2, "text": "ä\u2028", "deep": {"a": [1.5, None]}}, 12.0) == 2
    expected = {"n": 2, "text": "ä\u2028", "deep": {"a": [1.5, None]}}
    assert store.load("cart") == Snapshot("cart", 1, 2, 12.0, expected)
    assert store.claim("cart", 2, 13.0) == Snapshot("cart", 2, 2, 12.0, expected)
    assert store.save("cart", 2, {"n": 3}, 14.0) == 3


def test_a_late_incarnation_can_neither_save_nor_claim(store: SnapshotStore) -> None:
    store.claim("cart", 1, 0.0)
    store.save("cart", 1, {"n": 1}, 0.0)
    store.claim("cart", 2, 0.0)
    with pytest.raises(FencedError, match=r"'cart' of epoch 1 is fenced off: epoch 2 has claimed") as caught:
        store.save("cart", 1, {"n": 99}, 1.0)
    assert (caught.value.agent, caught.value.epoch, caught.value.stored_epoch) == ("cart", 1, 2)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(FencedError):
        store.claim("cart", 1, 1.0)
    assert store.load("cart") == Snapshot("cart", 2, 1, 0.0, {"n": 1})


def test_the_fence_stands_before_anything_was_saved(store: SnapshotStore) -> None:
    store.claim("cart", 2, 0.0)
    with pytest.raises(FencedError):
        store.save("cart", 1, {"n": 1}, 0.0)
    assert store.load("cart") is None


def test_an_incarnation_may_claim_again(store: SnapshotStore) -> None:
    store.claim("cart", 3, 0.0)
    store.save("cart", 3, {"n": 1}, 0.0)
    assert store.claim("cart", 3, 0.0) == Snapshot("cart", 3, 1, 0.0, {"n": 1})


def test_epochs_of_milliseconds_fit(store: SnapshotStore) -> None:
    epoch = 4_102_444_800_000
    store.claim("cart", epoch, 0.0)
    assert store.save("cart", epoch, {}, 0.0) == 1


def test_bug_one_table_for_coordinators_and_generic_agents_mixed_their_states_up(database: Database) -> None:
    places = [("orders", ""), ("orders", "tenant-a"), ("returns", ""), ("tenant-a", "orders")]
    for number, (system, partition) in enumerate(places):
        mine = SnapshotStore(database, system, partition)
        assert mine.claim("cart", 1, 0.0) is None
        mine.save("cart", 1, {"n": number}, 0.0)
    for number, (system, partition) in enumerate(places):
        found = SnapshotStore(database, system, partition).load("cart")
        assert found is not None
        assert found.fields == {"n": number}


def test_forgetting_throws_the_snapshot_away_and_leaves_the_fence(store: SnapshotStore) -> None:
    assert store.forget("cart") is False
    store.claim("cart", 2, 0.0)
    assert store.forget("cart") is False
    store.save("cart", 2, {"n": 1}, 0.0)
    assert store.forget("cart") is True
    assert store.load("cart") is None
    with pytest.raises(FencedError):
        store.save("cart", 1, {"n": 0}, 0.0)
    assert store.claim("cart", 3, 0.0) is None


def test_a_clock_that_was_set_back_can_be_let_in_by_hand(store: SnapshotStore) -> None:
    assert store.unfence("cart") is False
    store.claim("cart", 9, 0.0)
    store.save("cart", 9, {"n": 1}, 0.0)
    with pytest.raises(FencedError, match="unfence"):
        store.claim("cart", 5, 0.0)
    assert store.unfence("cart") is True
    assert store.claim("cart", 5, 0.0) == Snapshot("cart", 5, 1, 0.0, {"n": 1})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object(), {1, 2}, b"x"])
def test_what_is_no_json_is_refused_with_the_name_of_its_field(store: SnapshotStore, bad: object) -> None:
    with pytest.raises(SnapshotError, match="Field 'worst' cannot be stored as JSON"):
        store.save("cart", 1, {"n": 1, "worst": {"deep": [bad]}}, 0.0)
    assert store.load("cart") is None


def test_a_state_without_bounds_is_refused(store: SnapshotStore) -> None:
    with pytest.raises(SnapshotError, match="more than 16777216"):
        store.save("cart", 1, {"log": "x" * 2**24}, 0.0)


def test_of_many_incarnations_at_once_the_latest_has_the_last_word(others: list[SnapshotStore]) -> None:
    """Each thread claims and saves as an epoch of its own; whatever the order, no earlier one writes after a later."""
    outcomes: dict[int, str] = {}

    def live(epoch: int, store: SnapshotStore) -> None:
        try:
            store.claim("cart", epoch, 0.0)
            for n in range(20):
                store.save("cart", epoch, {"epoch": epoch, "n": n}, 0.0)
            outcomes[epoch] = "done"
        except FencedError:
            outcomes[epoch] = "fenced"

    threads = [threading.Thread(target=live, args=(epoch, store)) for epoch, store in enumerate(others, start=1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 4
    assert outcomes[4] == "done"
    found = others[0].load("cart")
    assert found is not None
    assert (found.epoch, found.fields) == (4, {"epoch": 4, "n": 19})


def test_a_store_pickles_by_its_address_and_a_process_has_one_for_each(store: SnapshotStore) -> None:
    store.claim("cart", 1, 0.0)
    store.save("cart", 1, {"n": 1}, 0.0)
    copy = pickle.loads(pickle.dumps(store))
    again = pickle.loads(pickle.dumps(store))
    assert copy is again
    assert copy.load("cart") == store.load("cart")
    copy.close()
    assert (copy.system, copy.partition, copy._database.url) == ("orders", "", store._database.url)


def test_the_table_is_a_migration_of_its_own_owner(store: SnapshotStore, database: Database) -> None:
    store.load("cart")
    assert [m.id.partition("-")[0] for m in SNAPSHOT_MIGRATIONS] == ["snapshots"]
    database.migrate(SNAPSHOT_MIGRATIONS)  # a second time does nothing


@pytest.mark.parametrize("names", [("", ""), ("x" * 201, ""), ("x", "y" * 201)])
def test_a_store_without_a_system_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="system must be 1 to 200"):
        SnapshotStore(Database(str(tmp_path / "a.db")), *names)


def test_a_database_that_cannot_be_used_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(StoreError, match="not a SQLite database"):
        SnapshotStore(Database(str(tmp_path / "a.db")), "orders").claim("cart", 1, 0.0)
