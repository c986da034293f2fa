"""Labels of versions, seals and rows of data in the store, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from dspex_agents.database import Database
from dspex_agents.errors import StoreError
from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.store import MIGRATIONS, LabelMove, MoveLabel, Store, open_store, state_hash

PROGRAM = "shop:Route"


def state(program: str = PROGRAM, **values: Any) -> dict[str, Any]:
    return {"program": program, "values": values, "demo_pool": None, "lm": None}


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    for t in range(1, 4):
        opened.save_version(state(t=t), {"score": t / 10}, now=float(t))
    yield opened
    opened.database.close()


def promote(store: Store, number: int | None, label: str = "production", **others: Any) -> LabelMove | None:
    asked: dict[str, Any] = {"kind": "promote", "by": "ann", "at": 10.0, **others}
    return store.move_label(MoveLabel(program=PROGRAM, label=label, to=number, **asked))


def back(store: Store, label: str = "production") -> tuple[int | None, int | None]:
    move = store.rollback(PROGRAM, label, by="bob", now=20.0, why="errors")
    return move.before, move.after


class TestLabels:
    def test_a_label_is_accepted_wherever_a_version_is(self, store: Store) -> None:
        promote(store, 2)
        assert store.version(PROGRAM, "production").number == 2
        assert store.version(PROGRAM, f"{PROGRAM}@production").number == 2
        assert store.labels(PROGRAM) == {"production": 2}

    def test_every_move_is_kept_with_who_when_why_from_and_to(self, store: Store) -> None:
        promote(store, 1, why="first", facts={"forced": False})
        promote(store, 3, at=11.5)
        back(store)
        promote(store, 2, "staging")
        told = [(m.label, m.step, m.kind, m.before, m.after, m.at, m.by, m.why) for m in store.label_moves(PROGRAM)]
        assert told == [
            ("production", 1, "promote", None, 1, 10.0, "ann", "first"),
            ("production", 2, "promote", 1, 3, 11.5, "ann", ""),
            ("production", 3, "rollback", 3, 1, 20.0, "bob", "errors"),
            ("staging", 1, "promote", None, 2, 10.0, "ann", ""),
        ]
        assert store.label_moves(PROGRAM, "production")[0].facts == {"forced": False}
        assert store.label_moves("other:P") == []

    def test_rollbacks_go_back_one_promotion_each_and_never_forth(self, store: Store) -> None:
        for number in (1, 2, 3):
            promote(store, number)
        assert back(store) == (3, 2)
        assert back(store) == (2, 1)
        with pytest.raises(UsageError, match="production of shop:Route has named no version before version 1"):
            back(store)
        promote(store, 3)
        assert back(store) == (3, 1)

    def test_a_label_that_stands_there_already_is_not_moved(self, store: Store) -> None:
        assert promote(store, 1) is not None
        assert promote(store, 1) is None
        assert len(store.label_moves(PROGRAM)) == 1

    def test_a_removed_label_names_nothing_and_a_rollback_brings_it_back(self, store: Store) -> None:
        promote(store, 2)
        promote(store, None, kind="remove")
        assert store.labels(PROGRAM) == {}
        with pytest.raises(UnknownNameError, match="version of shop:Route 'production'"):
            store.version(PROGRAM, "production")
        with pytest.raises(UnknownNameError, match="label of shop:Route 'production'"):
            promote(store, None, kind="remove")
        assert back(store) == (None, 2)

    def test_a_label_moved_meanwhile_is_not_moved_over(self, store: Store) -> None:
        promote(store, 1)
        with pytest.raises(UsageError, match=r"moved meanwhile: it names version 1, and named no version"):
            promote(store, 2, expected=None)
        assert promote(store, 2, expected=1) is not None

    @pytest.mark.parametrize("name", ["latest", "untuned", "7", "Production", "a b", "", "x" * 64, "a@b"])
    def test_a_name_that_could_be_a_version_or_is_no_word_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(UsageError, match="A label is lower-case letters"):
            promote(store, 1, name)

    def test_a_version_that_is_not_there_is_refused_with_near_matches(self, store: Store) -> None:
        promote(store, 2)
        with pytest.raises(UnknownNameError, match=r"'prodution'. Did you mean 'production'.*Known: 1, 2, 3, latest"):
            store.version(PROGRAM, "prodution")
        with pytest.raises(UnknownNameError, match=r"version of shop:Route '9'"):
            promote(store, 9)
        promote(store, 1, "staging")
        with pytest.raises(UnknownNameError, match=r"label of shop:Route 'stagin'. Did you mean 'staging'"):
            back(store, "stagin")

    def test_a_version_of_another_program_is_refused_by_name(self, store: Store) -> None:
        other = store.save_version(state("shop:Other", t=7), {}, now=1.0)
        with pytest.raises(UsageError, match="shop:Other@1 is a version of shop:Other, not of shop:Route"):
            store.version(PROGRAM, "shop:Other@1")
        with pytest.raises(UsageError, match="is version 1 of shop:Other, not of shop:Route"):
            store.version(PROGRAM, other.hash[:10])

    def test_moves_cannot_be_changed_or_taken_out(self, store: Store) -> None:
        promote(store, 1)
        for statement in ("UPDATE label_moves SET after = 3", "DELETE FROM label_moves"):
            with pytest.raises((DatabaseError, StoreError), match="moves of labels are never changed"):  # noqa: SIM117
                with store.database.transaction() as connection:
                    connection.execute(sa.text(statement))
        assert store.labels(PROGRAM) == {"production": 1}

    def test_text_that_a_database_would_refuse_does_not_keep_a_move_out(self, store: Store) -> None:
        move = promote(store, 1, by="ann\0\ud800", why="w" * 9000)
        assert move is not None
        assert move == store.label_moves(PROGRAM)[0]
        assert move.by == "ann\ufffd?"
        assert len(move.why) == 2000

    def test_two_processes_that_move_a_label_at_once_lose_no_move(self, url: str, store: Store) -> None:
        script = textwrap.dedent(
            """
            import sys
            from dspex_ray.store import MoveLabel, open_store
            url, me = sys.argv[1:]
            own = {"a": 1, "b": 2}[me]  # the first move of each changes something, whoever is first
            store = open_store(url)
            print("ready", flush=True)
            sys.stdin.readline()
            for n in range(10):
                ask = MoveLabel(program="shop:Route", label="x", kind="label", to=own, by=me, at=1.0)
                store.move_label(ask)
            """
        )
        movers = [
            subprocess.Popen(
                [sys.executable, "-c", script, url, me], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for me in ("a", "b")
        ]
        for mover in movers:
            assert mover.stdout is not None
            assert mover.stdout.readline() == "ready\n"
        for mover in movers:
            assert mover.stdin is not None
            mover.stdin.write("go\n")
            mover.stdin.flush()
        for mover in movers:
            mover.communicate(timeout=50)
            assert mover.returncode == 0
        moves = store.label_moves(PROGRAM, "x")
        assert [move.step for move in moves] == list(range(1, len(moves) + 1))
        assert [move.before for move in moves] == [None, *(move.after for move in moves[:-1])]
        assert {move.by for move in moves} == {"a", "b"}


class TestVersions:
    def test_a_version_is_named_by_the_digits_of_its_hash(self, store: Store) -> None:
        digest = store.version(PROGRAM, 2).hash
        assert store.version(PROGRAM, digest[:8]).number == store.version(PROGRAM, digest).number == 2
        again = store.save_version(state(t=2), {}, now=9.0)
        assert store.version(PROGRAM, digest[:8]).number == again.number
        assert store.version_of_state(state(t=2)) == again.number
        assert store.version_of_state(state(t=99)) is None

    def test_scores_changed_behind_the_stores_back_are_refused(self, store: Store) -> None:
        with store.database.transaction() as connection:
            connection.execute(sa.text("UPDATE versions SET facts = replace(facts, '0.1', '0.9') WHERE number = 1"))
            connection.execute(sa.text("UPDATE versions SET parent = 1 WHERE number = 2"))
        for number in (1, 2):
            with pytest.raises(ConfigurationError, match=rf"Version {number} of .* its scores or its origin do not"):
                store.version(PROGRAM, number)
        assert store.version(PROGRAM, 3).facts == {"score": 0.3}

    def test_versions_of_an_older_store_are_sealed_when_it_is_opened(self, url: str) -> None:
        old = Database(url)
        old.migrate(MIGRATIONS)
        kept = state(t=1)
        with old.transaction() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO versions (program, number, hash, created_at, facts, state) VALUES "
                    "(:program, 1, :hash, 1.5, :facts, :state)"
                ),
                {
                    "program": PROGRAM,
                    "hash": state_hash(kept),
                    "facts": '{"score": 0.5}',
                    "state": '{"demo_pool":null,"lm":null,"program":"shop:Route","values":{"t":1}}',
                },
            )
        old.close()
        store = open_store(url)
        assert store.version(PROGRAM, 1).facts == {"score": 0.5}
        with store.database.transaction() as connection:
            assert connection.execute(sa.text("SELECT seal FROM versions")).scalar() is not None
            connection.execute(sa.text("UPDATE versions SET facts = '{}'"))
        with pytest.raises(ConfigurationError, match="changed after it was saved"):
            store.version(PROGRAM, 1)
        store.database.close()


def test_the_inputs_of_a_data_set_are_known_again_by_its_fingerprint(store: Store) -> None:
    store.keep_data_rows("f1", "rows\0.csv", ["a", "b"])
    store.keep_data_rows("f1", "other.csv", ["c"])
    assert store.data_rows("f1") == frozenset("ab")
    assert store.data_rows("f2") is None
