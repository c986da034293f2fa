"""`dspex keys` and `dspex audit`: the secret is shown once, every change is recorded, mistakes are told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dspex_agents.clock import SystemClock
from dspex_ray.access.key_book import KeyBook
from dspex_ray.cli import output
from dspex_ray.store import open_store

Run = Callable[..., Any]


def works(written: str, later_s: float = 0.0) -> bool:
    return KeyBook(open_store().database).ring().find(written, SystemClock().now() + later_s) is not None


def made(dspex: Run, *options: str) -> dict[str, Any]:
    said = dspex("keys", "create", *options, "--json")
    assert said.code == 0
    return dict(said.json)


class TestKeys:
    def test_a_key_is_shown_once_and_works(self, dspex: Run) -> None:
        plain = dspex("keys", "create", "--tenant", "acme", "--note", "for the shop")
        written = plain.out.splitlines()[-1]
        assert plain.code == 0
        assert written.startswith("dspex_")
        assert works(written)
        secret = written.rpartition("_")[2]
        for words in (("keys", "list"), ("keys", "list", "--json"), ("audit", "list"), ("audit", "list", "--json")):
            assert secret not in dspex(*words).out

    def test_the_options_of_a_key_are_those_it_is_kept_with(self, dspex: Run) -> None:
        options = "--tenant acme --role invoke --role feedback --endpoint route --expires-days 2 --usd-per-day 1.5"
        key = made(dspex, *options.split(), "--requests-per-second", "2", "--burst", "5", "--concurrent-requests", "3")
        listed = dspex("keys", "list", "--tenant", "acme", "--json").json["keys"]
        written = key.pop("key")
        assert listed == [key]
        assert (key["roles"], key["endpoints"], key["status"]) == (["feedback", "invoke"], ["route"], "active")
        limits = {"requests_per_second": 2.0, "burst": 5, "concurrent_requests": 3, "usd_per_day": 1.5}
        assert key["limits"] == limits
        assert works(written, 2 * 86_400 - 60)
        assert not works(written, 2 * 86_400)

    def test_without_options_a_key_may_invoke_every_endpoint_for_ever(self, dspex: Run) -> None:
        key = made(dspex)
        told = [key[name] for name in ("tenant", "roles", "endpoints", "expires_at", "limits")]
        assert told == ["default", ["invoke"], None, None, {}]

    def test_a_rotation_shows_the_new_secret_and_lets_the_old_one_work_for_a_while(self, dspex: Run) -> None:
        old = made(dspex)
        new = dspex("keys", "rotate", old["id"], "--overlap-hours", "1", "--json").json
        assert new["id"] == old["id"]
        assert [works(old["key"], at) for at in (0, 3_540, 3_600)] == [True, True, False]
        assert works(new["key"], 3_600)
        plain = dspex("keys", "rotate", old["id"])
        assert plain.out.count("Secrets before it work until") == 2
        assert works(plain.out.splitlines()[-1])

    def test_a_revoked_key_works_no_more(self, dspex: Run) -> None:
        key = made(dspex)
        said = dspex("keys", "revoke", f"dspex_{key['id']}", "--why", "lost")
        assert said.out == f"Revoked {key['id']} of default.\n"
        assert not works(key["key"])
        assert dspex("keys", "list", "--json").json["keys"][0]["status"] == "revoked"

    def test_limits_of_a_tenant_are_set_and_taken_away(self, dspex: Run) -> None:
        assert dspex("keys", "limit", "acme", "--usd-per-day", "5").out == "acme: 5 usd per day\n"
        assert dspex("keys", "limit", "acme", "--json").json == {"tenant": "acme", "limits": {}}

    def test_what_others_wrote_is_shown_as_it_is(self, dspex: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(output.out, "width", 200)  # else what the terminal of the first test had
        made(dspex, "--note", "[red]x[/red]\x1b[2J", "--by", "[bold]ann\x1b]0;")
        assert "[red]x[/red]\ufffd[2J" in dspex("keys", "list").out
        assert "[bold]ann\ufffd]0;" in dspex("audit", "list").out

    @pytest.mark.parametrize("words", ["create", "limit acme --usd-per-day 5"])
    def test_that_endpoints_do_not_go_by_it_yet_is_told(self, dspex: Run, words: str) -> None:
        assert "do not ask for keys yet" in dspex("keys", *words.split()).err
        assert "do not ask for keys yet" in dspex("keys", *words.split(), "--json").err

    def test_without_keys_the_list_says_how_to_make_one(self, dspex: Run) -> None:
        assert "dspex keys create --tenant NAME" in dspex("keys", "list").out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("create --role invok", "unknown role 'invok' (did you mean 'invoke'?)"),
            ("create --tenant a/b", "the tenant is 1 to 100 of letters"),
            ("create --expires-days -1", "--expires-days must be 0 or more"),
            ("create --expires-days nan", "--expires-days must be 0 or more"),
            ("create --expires-days 0", "would expire before it begins"),
            ("create --usd-per-day 0", "usd_per_day must be a number above 0"),
            ("create --burst 5", "burst needs requests_per_second"),
            ("rotate 0123456789ab", "Unknown API key '0123456789ab'"),
            ("rotate 0123456789ab --overlap-hours inf", "--overlap-hours must be 0 or more"),
            ("revoke 0123456789ab", "Unknown API key '0123456789ab'"),
            ("limit a/b --usd-per-day 1", "the tenant is 1 to 100 of letters"),
        ],
    )
    def test_mistakes_are_told_and_leave_nothing_behind(self, dspex: Run, words: str, said: str) -> None:
        told = dspex("keys", *words.split())
        assert told.code == 2
        assert said in told.err
        assert dspex("keys", "list", "--json").json == {"keys": []}
        assert dspex("audit", "list", "--json").json == {"entries": []}

    def test_a_secret_given_for_an_id_is_not_told_again(self, dspex: Run) -> None:
        key = made(dspex)
        said = dspex("keys", "revoke", key["key"])
        assert said.code == 2
        assert key["key"].rpartition("_")[2] not in said.err + said.out


class TestAudit:
    def test_every_change_is_listed_with_who_and_what(self, dspex: Run) -> None:
        key = made(dspex, "--by", "ann")
        dspex("keys", "revoke", key["id"], "--by", "bob", "--why", "lost")
        entries = dspex("audit", "list", "--json").json["entries"]
        assert [(one["by"], one["action"], one["subject"]) for one in entries] == [
            ("ann", "key.create", key["id"]),
            ("bob", "key.revoke", key["id"]),
        ]
        assert entries[1]["details"] == {"tenant": "default", "why": "lost"}
        assert [one["number"] for one in dspex("audit", "list", "--by", "bob", "--json").json["entries"]] == [2]
        assert "key.revoke" in dspex("audit", "list").out

    def test_a_whole_record_is_verified_to_a_head_that_finds_what_is_cut_off(self, dspex: Run, folder: Path) -> None:
        made(dspex)
        made(dspex)
        head = dspex("audit", "verify").out.splitlines()[-1]
        assert dspex("audit", "verify", "--head", head, "--json").json == {"whole": True, "entries": 2, "head": head}
        _tamper(folder, "DELETE FROM audit_entries WHERE number = 2")
        assert dspex("audit", "verify").code == 0
        said = dspex("audit", "verify", "--head", head)
        assert (said.code, said.err) == (
            1,
            "The record ends at entry 1, but had 2: the last were taken out.\n",
        )

    def test_a_changed_entry_is_named_and_fails_the_command(self, dspex: Run, folder: Path) -> None:
        made(dspex)
        made(dspex)
        _tamper(folder, "UPDATE audit_entries SET details = '{}' WHERE number = 1")
        said = dspex("audit", "verify", "--json")
        assert said.code == 1
        assert said.json["error"]["type"] == "AuditError"
        assert "Entry 1 was changed after it was kept" in said.json["error"]["message"]

    def test_an_empty_record_is_whole(self, dspex: Run) -> None:
        assert dspex("audit", "verify", "--json").json["entries"] == 0
        assert dspex("audit", "list").out == "No such action is recorded.\n"

    def test_a_head_that_is_none_is_refused(self, dspex: Run) -> None:
        said = dspex("audit", "verify", "--head", "yesterday")
        assert said.code == 2
        assert "NUMBER:HASH" in said.err


def _tamper(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / ".dspex" / "dspex.db")) as connection:
        connection.execute("DROP TRIGGER audit_entries_update")
        connection.execute("DROP TRIGGER audit_entries_delete")
        connection.execute(statement)
        connection.commit()
