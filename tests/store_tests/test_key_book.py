"""Keys and the audit record in the store, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from dspex_agents.database import Database
from dspex_agents.errors import StoreError
from dspex_ray.access.audit import Action, verify
from dspex_ray.access.key_book import KeyBook
from dspex_ray.access.keys import KeyGrant
from dspex_ray.access.limits import Limits
from dspex_ray.errors import AuditError, ConfigurationError, UnknownNameError, UsageError
from dspex_ray.store import MoveLabel, Store, audit_log

GRANT = KeyGrant(
    tenant="acme",
    roles=frozenset({"invoke", "feedback"}),
    endpoints=frozenset({"route", "sort"}),
    expires_at=500.25,
    note="for the shop",
    limits=Limits(requests_per_second=2.5, burst=7, concurrent_requests=3, usd_per_day=1.5),
)


@pytest.fixture
def book(database: Database) -> KeyBook:
    return KeyBook(Store(database).database)


def actions(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as connection:
        return [(one.by, one.action, one.subject) for one in audit_log.latest(connection, 100)]


def whole(database: Database) -> int:
    with database.read() as connection:
        return verify(audit_log.entries(connection)).number


class TestKeys:
    def test_a_key_comes_back_as_it_was_made(self, book: KeyBook) -> None:
        made = book.create(GRANT, by="ann", now=10.5)
        plain = book.create(KeyGrant(), by="ann", now=11.0)
        assert book.listed() == [made.key, plain.key]
        assert book.listed("acme") == [made.key]
        assert book.ring().find(made.written, 20.0) == made.key

    def test_the_store_holds_no_secret(self, book: KeyBook, database: Database) -> None:
        secret = book.create(GRANT, by="ann", now=10.0).written.rpartition("_")[2]
        told = ""
        with database.read() as connection:
            for table in sa.inspect(connection).get_table_names():
                told += str(connection.execute(sa.text(f"SELECT * FROM {table}")).all())  # noqa: S608 - our own tables
        assert "for the shop" in told
        assert secret not in told

    def test_both_secrets_of_a_rotated_key_work_until_the_old_one_ends(self, book: KeyBook) -> None:
        old = book.create(GRANT, by="ann", now=10.0)
        new = book.rotate(old.key.id, by="bob", now=20.0, overlap_s=30.0)
        ring = book.ring()
        assert [ring.find(old.written, at) is not None for at in (20.0, 49.0, 50.0)] == [True, True, False]
        assert [ring.find(new.written, at) is not None for at in (20.0, 50.0)] == [True, True]

    def test_a_revoked_key_is_found_no_more_and_listed_still(self, book: KeyBook, database: Database) -> None:
        made = book.create(GRANT, by="ann", now=10.0)
        book.revoke(made.key.id, by="bob", now=20.0, why="left the company")
        again = book.revoke(made.key.id, by="bob", now=30.0)
        assert again.revoked_at == 20.0
        assert book.ring().find(made.written, 20.0) is None
        assert [key.status(20.0) for key in book.listed()] == ["revoked"]
        with pytest.raises(ConfigurationError, match="is revoked"):
            book.rotate(made.key.id, by="bob", now=40.0)
        assert actions(database)[1:] == [("bob", "key.revoke", made.key.id)]

    def test_a_key_that_is_not_there_is_refused_with_near_matches(self, book: KeyBook) -> None:
        made = book.create(GRANT, by="ann", now=10.0)
        wrong = made.key.id[:-1] + ("0" if made.key.id[-1] != "0" else "1")
        for act in (book.rotate, book.revoke):
            with pytest.raises(UnknownNameError, match=f"Did you mean '{made.key.id}'"):
                act(wrong, by="bob", now=20.0)

    def test_a_secret_given_for_an_id_is_refused_and_not_told(self, book: KeyBook) -> None:
        made = book.create(GRANT, by="ann", now=10.0)
        for given in (made.written, made.written.rpartition("_")[2]):
            with pytest.raises(ConfigurationError, match="by its id") as caught:
                book.revoke(given, by="bob", now=20.0)
            assert made.written.rpartition("_")[2] not in str(caught.value)

    def test_limits_of_tenants_are_kept_changed_and_taken_away(self, book: KeyBook) -> None:
        book.limit_tenant("acme", Limits(usd_per_day=5.0), by="ann", now=1.0)
        book.limit_tenant("acme", Limits(usd_per_day=6.0), by="ann", now=2.0)
        assert book.tenants() == {"acme": Limits(usd_per_day=6.0)}
        assert book.ring().limits_of("acme") == Limits(usd_per_day=6.0)
        book.limit_tenant("acme", Limits(), by="ann", now=3.0)
        assert book.tenants() == {}

    def test_a_new_ring_is_told_of_once_for_each_change(self, book: KeyBook) -> None:
        first = book.ring_unless(-1)
        assert first is not None
        mark, ring = first
        assert ring.keys == {}
        assert book.ring_unless(mark) is None
        made = book.create(GRANT, by="ann", now=10.0)
        second = book.ring_unless(mark)
        assert second is not None
        assert second[1].keys == {made.key.id: made.key}
        for change in (
            lambda: book.rotate(made.key.id, by="ann", now=20.0),
            lambda: book.limit_tenant("acme", Limits(usd_per_day=1.0), by="ann", now=20.0),
            lambda: book.revoke(made.key.id, by="ann", now=20.0),
        ):
            mark = second[0]
            assert book.ring_unless(mark) is None
            change()
            second = book.ring_unless(mark)
            assert second is not None

    def test_a_note_that_a_database_would_refuse_does_not_keep_a_key_out(self, book: KeyBook) -> None:
        book.create(KeyGrant(note="a\0b\ud800"), by="ann", now=10.0)
        assert [key.grant.note for key in book.listed()] == ["a\ufffdb?"]


class TestAudit:
    def test_each_change_of_a_key_is_recorded_with_who_and_what(self, book: KeyBook, database: Database) -> None:
        made = book.create(GRANT, by="ann", now=10.0)
        book.rotate(made.key.id, by="bob", now=20.0, overlap_s=5.0)
        book.limit_tenant("acme", Limits(burst=2, requests_per_second=1), by="eve", now=25.0)
        assert actions(database) == [
            ("ann", "key.create", made.key.id),
            ("bob", "key.rotate", made.key.id),
            ("eve", "tenant.limit", "acme"),
        ]
        assert whole(database) == 3
        with database.read() as connection:
            first = audit_log.latest(connection, 9, action="key")[0]
            assert audit_log.latest(connection, 9, action="ke") == []
            assert [one.number for one in audit_log.latest(connection, 1, action="key")] == [2]
            assert [one.number for one in audit_log.latest(connection, 9, subject="acme", by="eve")] == [3]
        assert first.to_json()["details"]["roles"] == ["feedback", "invoke"]

    def test_each_move_of_a_label_is_recorded_and_one_that_moves_nothing_is_not(self, database: Database) -> None:
        store = Store(database)
        for t in range(2):
            state = {"program": "shop:Route", "values": {"t": t}, "demo_pool": None, "lm": None}
            store.save_version(state, {}, now=1.0)
        for number in (1, 2, 2):
            why = "\U0001f600" * 2_000
            asked = MoveLabel(program="shop:Route", label="x", kind="promote", to=number, by="ann", at=2.0, why=why)
            store.move_label(asked)
        store.rollback("shop:Route", "x", by="bob", now=3.0, why="errors\ud800")
        assert actions(database) == [
            ("ann", "label.promote", "shop:Route"),
            ("ann", "label.promote", "shop:Route"),
            ("bob", "label.rollback", "shop:Route"),
        ]
        assert whole(database) == 3

    def test_a_change_that_fails_leaves_neither_key_nor_entry(self, book: KeyBook, database: Database) -> None:
        many = frozenset(f"endpoint-{n:080}" for n in range(600))
        with pytest.raises(UsageError, match="at most 50000 are kept"):
            book.create(KeyGrant(endpoints=many), by="ann", now=10.0)
        assert book.listed() == []
        assert actions(database) == []

    @pytest.mark.parametrize(
        "statement", ["UPDATE audit_entries SET \"by\" = 'eve'", "DELETE FROM audit_entries WHERE number = 1"]
    )
    def test_entries_cannot_be_changed_or_taken_out(self, book: KeyBook, database: Database, statement: str) -> None:
        book.create(GRANT, by="ann", now=10.0)
        with pytest.raises((DatabaseError, StoreError), match="never changed"), database.transaction() as connection:
            connection.execute(sa.text(statement))
        assert whole(database) == 1

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("UPDATE audit_entries SET \"by\" = 'eve' WHERE number = 2", "Entry 2 was changed after it was kept"),
            ("DELETE FROM audit_entries WHERE number = 1", "Entry 1 is missing; the next one there is 2"),
        ],
    )
    def test_who_drops_the_triggers_is_found_out(
        self, book: KeyBook, database: Database, statement: str, said: str
    ) -> None:
        for n in range(3):
            book.create(GRANT, by="ann", now=10.0 + n)
        with database.transaction() as connection:
            if database.is_sqlite:
                connection.execute(sa.text("DROP TRIGGER audit_entries_update"))
                connection.execute(sa.text("DROP TRIGGER audit_entries_delete"))
            else:
                connection.execute(sa.text("DROP TRIGGER audit_kept ON audit_entries"))
            connection.execute(sa.text(statement))
        with pytest.raises(AuditError, match=said):
            whole(database)

    def test_a_long_record_is_verified_page_by_page(self, book: KeyBook, database: Database) -> None:
        with database.transaction() as connection:
            for n in range(2001):
                audit_log.append(connection, Action(by="ann", action="test", subject="s"), n / 7)
        assert whole(database) == 2001

    def test_text_that_a_database_would_refuse_is_recorded(self, book: KeyBook, database: Database) -> None:
        details: dict[str, Any] = {"text": "a\0b\ud800", "n": 10**30, "x": 0.1 + 0.2}
        with database.transaction() as connection:
            audit_log.append(connection, Action(by="a\0\ud800", action="t", subject="s" * 900, details=details), 1.1)
        assert whole(database) == 1

    def test_processes_that_write_at_once_make_one_whole_chain(
        self, book: KeyBook, database: Database, url: str
    ) -> None:
        script = textwrap.dedent(
            """
            import sys
            from dspex_agents.database import Database
            from dspex_ray.access.key_book import KeyBook
            from dspex_ray.access.keys import KeyGrant
            url, me = sys.argv[1:]
            book = KeyBook(Database(url))
            print("ready", flush=True)
            sys.stdin.readline()
            for n in range(8):
                made = book.create(KeyGrant(tenant=me), by=me, now=1.0)
                book.rotate(made.key.id, by=me, now=2.0)
            """
        )
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", script, url, me], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for me in ("a", "b", "c")
        ]
        for each in writers:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in writers:
            each.communicate("go\n", timeout=50)
            assert each.returncode == 0
        assert whole(database) == 48
        assert len(book.listed("a")) == 8
