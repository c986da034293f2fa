"""`dspex versions list | show | diff | promote | rollback | label`, and a label wherever a version is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dspex_ray.store import open_store

Run = Callable[..., Any]
DEMOS: list[dict[str, Any]] = [
    {"id": f"e{n}", "input": {"message": text, "stars": 3}, "output": {"intent": intent}, "label": intent}
    for n, (text, intent) in enumerate(
        [("my card is lost", "card"), ("withdraw money", "cash"), ("exchange today", "rate"), ("a new card", "card")]
    )
]


def state(*shown: int) -> dict[str, Any]:
    demos = {"select": "fixed", "ids": [f"e{n}" for n in shown]}
    pool = {"examples": [DEMOS[n] for n in shown]}
    return {"program": "shop:Route", "values": {"demos": demos}, "demo_pool": pool, "lm": "embedded/nearest"}


@pytest.fixture
def kept(folder: Path) -> None:
    store = open_store()
    facts = {"score": 0.9, "low": 0.8, "high": 0.95, "cost_usd": 0.5, "interface": {"told": {"": "Say what it is."}}}
    told = {**facts, "score": 0.4, "interface": {"told": {"": "Say what it was."}}}
    store.save_version(state(0, 1, 2), facts, now=1.0)
    store.save_version(state(0), told, now=2.0, parent=1)
    store.database.close()
    lines = "".join(
        json.dumps({"message": f"{d['input']['message']} {n}", **d["output"]}) + "\n" for n in range(20) for d in DEMOS
    )
    (folder / "held.jsonl").write_text(lines, encoding="utf-8")
    (folder / "leak.csv").write_text(
        "message,intent,stars\nmy card is lost,card,3\nother text,cash,3\n", encoding="utf-8"
    )


@pytest.mark.usefixtures("kept")
class TestVersions:
    def test_a_version_is_promoted_on_held_out_rows_and_rolled_back(self, dspex: Run) -> None:
        first = dspex("versions", "promote", "shop:Route@1", "--data", "held.jsonl", "--json")
        assert (first.code, first.json["promoted"], first.json["before"]) == (0, True, None)
        assert first.json["held_out"]["rows"] == 80
        refused = dspex("versions", "promote", "shop:Route@2", "--data", "held.jsonl", "--json")
        assert (refused.code, refused.json["promoted"]) == (1, False)
        assert "surely worse" in refused.json["refusals"][0]
        told = dspex("versions", "promote", "shop:Route@2", "--data", "held.jsonl")
        assert (told.code, "Refused: it is surely worse" in told.err.replace("\n", " ")) == (1, True)
        forced = dspex(
            "versions", "promote", "shop:Route", "--data", "held.jsonl", "--force", "--why", "try", "--by", "x"
        )
        assert forced.code == 0
        assert "production now names version 2." in forced.out
        assert dspex("versions", "list", "--json").json["versions"][1]["labels"] == ["production"]
        assert "production" in dspex("versions").out
        back = dspex("versions", "rollback", "shop:Route", "--json").json
        assert (back["before"], back["after"]) == (2, 1)
        assert "has named no version before" in dspex("versions", "rollback", "shop:Route").err.replace("\n", " ")
        moves = dspex("versions", "label", "shop:Route", "--json").json
        assert [(one["kind"], one["by"] == "x", one["why"]) for one in moves["moves"]] == [
            ("promote", False, ""),
            ("promote", True, "try"),
            ("rollback", False, ""),
        ]
        assert moves["labels"] == {"production": 1}
        assert "(forced)" in dspex("versions", "label", "shop:Route").out

    def test_held_out_rows_that_the_version_shows_are_refused_by_name(self, dspex: Run) -> None:
        said = dspex("versions", "promote", "shop:Route@1", "--data", "leak.csv")
        assert said.code == 1
        assert "1 held-out rows are in the demonstrations of the version: rows 1" in said.err.replace("\n", " ")
        assert "no held-out rows" in dspex("versions", "promote", "shop:Route@1").err

    def test_a_label_is_taken_wherever_a_version_is(self, dspex: Run) -> None:
        assert dspex("versions", "label", "shop:Route@1", "staging").code == 0
        for words in (("shop:Route@staging",), ("shop:Route", "--version", "staging")):
            said = dspex("run", words[0], "message=withdraw", *words[1:], "--json")
            assert said.json["version"] == "1"
        found = dspex(
            "optimize", "shop:Route@1", "--data", "rows.csv", "--trials", "2", "--runtime", "in-process", "--json"
        )
        assert found.code == 0, found.err
        (best,) = found.json["pareto"]
        assert best["trial"] in (0, 1)
        trial = dspex("sweeps", "show", found.json["run_id"], "--trial", "1", "--json").json
        shown = trial["candidate"]["demos"]
        assert (shown["select"], len(shown["demos"])) == ("given", 3)  # the version's own are in no row of the data
        both = dspex("run", "shop:Route@1", "message=x", "--version", "2")
        assert (both.code, "both name a version" in both.err) == (2, True)
        wrong = dspex("run", "shop:Route@stagin", "message=x")
        assert (wrong.code, "Did you mean 'staging'" in wrong.err.replace("\n", " ")) == (2, True)
        assert dspex("versions", "label", "shop:Route", "staging", "--remove", "--json").json["moved"] is True
        assert dspex("versions", "label", "shop:Route", "staging").code == 2

    def test_what_differs_is_shown_and_given_as_json(self, dspex: Run) -> None:
        said = dspex("versions", "diff", "shop:Route", "1", "2").out
        assert "told: Say what it [-is-]{+was+}." in said
        assert "demos: 3 fixed -> 1 fixed" in said
        assert "score: 0.9 -> 0.4" in said
        found = dspex("versions", "diff", "shop:Route", "1", "--json").json
        assert [len(one["removed"]) for one in found["demonstrations"]] == [2]
        assert "They are the same program." in dspex("versions", "diff", "shop:Route", "2", "latest").out

    def test_one_version_is_shown_with_its_origin(self, dspex: Run) -> None:
        said = dspex("versions", "show", "shop:Route").out
        assert "shop:Route version 2" in said
        assert "parent: version 1" in said
        assert "train: not measured" in said
        assert dspex("versions", "show", "shop:Route@1", "--json").json["state"] == state(0, 1, 2)

    def test_versions_alone_lists_and_an_unknown_command_is_none_of_a_program(self, dspex: Run) -> None:
        listed = [dspex(*words, "--json").json for words in (("versions",), ("versions", "shop:Route"))]
        assert listed[0] == listed[1] == dspex("versions", "list", "--json").json
        assert len(listed[0]["versions"]) == 2
        wrong = dspex("versions", "shows")
        assert (wrong.code, "No such command 'shows'" in wrong.err) == (2, True)


def _change(column: str, text: str) -> None:
    """Change version 1 past the store, as someone who wishes a version were another one."""
    store = open_store()
    with store.database.transaction() as connection:
        connection.execute(sa.text(f"UPDATE versions SET {column} = :text WHERE number = 1"), {"text": text})  # noqa: S608 - ours
    store.database.close()


@pytest.mark.usefixtures("kept")
class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("show", "shop:Route@9"), "Unknown version of shop:Route '9'. Known: 1, 2, latest."),
            (("show", "shop:Rout"), "Unknown program with versions 'shop:Rout'. Did you mean 'shop:Route'?"),
            (("show", "shop:Route@"), "'shop:Route@' names no version behind its @"),
            (("diff", "shop:Route", "1", "deadbeef"), "Unknown version of shop:Route 'deadbeef'."),
            (("diff", "shop:Route", "shop:Slow@1"), "shop:Slow@1 is a version of shop:Slow, not of shop:Route."),
            (("promote", "shop:Route@3", "--data", "held.jsonl"), "Unknown version of shop:Route '3'."),
            (("promote", "shop:Route@1", "--data", "hold.jsonl"), "did you mean 'held.jsonl'"),
            (("promote", "shop:Route@1", "--to", "12"), "A label is lower-case letters"),
            (("promote", "shop:Route@1", "--to", "latest"), "not `latest` or `untuned`"),
            (("label", "shop:Route@1", "untuned"), "not `latest` or `untuned`"),
            (("label", "shop:Route@nope", "staging"), "Unknown version of shop:Route 'nope'."),
            (("label", "shop:Route", "nope", "--remove"), "Unknown label of shop:Route 'nope'."),
            (("label", "shop:Rout"), "Did you mean 'shop:Route'?"),
            (("rollback", "shop:Route"), "Unknown label of shop:Route 'production'."),
            (("rollback", "shop:Route@1"), "give shop:Route without a version"),
            (("rollback", "shop:Rout"), "Did you mean 'shop:Route'?"),
        ],
    )
    def test_what_names_nothing_is_refused_with_what_there_is(
        self, dspex: Run, words: Sequence[str], said: str
    ) -> None:
        found = dspex("versions", *words)
        assert (found.code, said in found.err.replace("\n", " ")) == (2, True), found.err

    def test_a_version_of_another_program_is_none_by_its_hash_either(self, dspex: Run) -> None:
        store = open_store()
        other = store.save_version({**state(1), "program": "shop:Slow"}, {"score": 0.5}, now=3.0)
        store.database.close()
        said = dspex("versions", "promote", f"shop:Route@{other.hash}", "--data", "held.jsonl")
        assert (said.code, "is version 1 of shop:Slow, not of shop:Route" in said.err.replace("\n", " ")) == (2, True)

    def test_versions_of_a_misspelt_program_are_none_and_the_nearest_is_named(self, dspex: Run) -> None:
        said = dspex("versions", "list", "shop:Rout")
        assert (said.code, "'shop:Route'? Known: shop:Route." in " ".join(said.out.split())) == (0, True)

    @pytest.mark.parametrize(
        ("column", "text", "why"),
        [
            ("state", json.dumps(state(1)), "its content does not match its hash"),
            ("facts", json.dumps({"score": 0.99}), "its scores or its origin do not match their seal"),
            ("state", "{nope", "its state cannot be read"),
            ("facts", "[1]", "its facts are no object"),
        ],
    )
    def test_a_version_changed_in_the_store_is_never_used(self, dspex: Run, column: str, text: str, why: str) -> None:
        for which in ("1", "2"):
            assert dspex("versions", "label", f"shop:Route@{which}", "production").code == 0
        _change(column, text)
        for words in (
            ("versions", "show", "shop:Route@1"),
            ("versions", "diff", "shop:Route", "1", "2"),
            ("versions", "promote", "shop:Route@1", "--data", "held.jsonl"),
            ("versions", "label", "shop:Route@1", "staging"),
            ("versions", "rollback", "shop:Route"),
            ("run", "shop:Route@1", "message=x"),
        ):
            said = dspex(*words)
            told = said.err.replace("\n", " ")
            assert (said.code, "Version 1 of shop:Route in the store was changed" in told) == (2, True), said
            assert why in told
        assert dspex("versions", "show", "shop:Route@production").code == 0

    def test_a_version_whose_scores_were_changed_is_marked_in_the_list(self, dspex: Run) -> None:
        _change("facts", json.dumps({"score": 0.99, "low": 0.98, "high": 1.0}))
        assert "changed" in dspex("versions", "list").out
        assert [one["is_sealed"] for one in dspex("versions", "list", "--json").json["versions"]] == [False, True]
