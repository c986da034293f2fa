"""What tells two versions apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import UsageError
from dspex_ray.store import Version
from dspex_ray.versions.diff import diff
from dspex_ray.versions.words import word_diff


def example(n: int) -> dict[str, Any]:
    return {"id": f"e{n}", "input": {"q": f"{n}?"}, "output": {"a": str(n)}, "label": None}


def version(number: int, values: dict[str, Any], program: str = "a:A", lm: str | None = None, **facts: Any) -> Version:
    pool = {"examples": [example(n) for n in range(5)]}
    state = {"program": program, "values": values, "demo_pool": pool, "lm": lm, "instructions": facts.pop("told", {})}
    return Version(
        program=program, number=number, hash="", created_at=0.0, parent=None, run_id=None, facts=facts, state=state
    )


@given(st.text("ab \n.,", max_size=40), st.text("ab \n.,", max_size=40))
def test_the_pieces_of_a_word_diff_make_both_texts(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == after


def test_instructions_values_model_schema_and_figures_are_told_apart() -> None:
    interface = {"input": {"q": "str"}, "output": {"a": "str"}, "told": {"": "Answer in one word.", "b": "Be kind."}}
    wider = {**interface, "output": {"a": "int"}}
    one = version(1, {"t": 0.2, "style": "json"}, interface=interface, score=0.5)
    two = version(
        2, {"t": 0.9, "style": "json"}, lm="m/x", interface=wider, score=0.7, told={"": "Answer in two words."}
    )
    found = diff(one, two)
    assert [(c.name, c.before, c.after) for c in found.values] == [("t", 0.2, 0.9)]
    assert found.model is not None
    assert (found.model.before, found.model.after) == (None, "m/x")
    assert [(c.name, c.before, c.after) for c in found.schema] == [("output.a", "str", "int")]
    assert [(c.name, c.before, c.after) for c in found.figures] == [("score", 0.5, 0.7)]
    (told,) = found.instructions
    assert told.place == ""
    assert [(p.kind, p.text) for p in told.pieces if p.kind != "same"] == [
        ("removed", "one"),
        ("added", "two"),
        ("removed", "word"),
        ("added", "words"),
    ]
    assert json.loads(json.dumps(found.to_json()))["same"] is False


def test_demonstrations_are_added_removed_and_reordered() -> None:
    def shown(number: int, *ids: int) -> Version:
        return version(number, {"demos": {"select": "fixed", "ids": [f"e{n}" for n in ids]}})

    (found,) = diff(shown(1, 0, 1, 2), shown(2, 2, 1, 4)).demonstrations
    assert [demo["input"]["q"] for demo in found.added] == ["4?"]
    assert [demo["input"]["q"] for demo in found.removed] == ["0?"]
    assert found.reordered
    assert diff(shown(1, 0, 1), shown(2, 0, 1)).is_same
    (grown,) = diff(shown(1, 0, 1), shown(2, 0, 3, 1)).demonstrations
    assert not grown.reordered
    (other,) = diff(shown(1, 0), version(2, {"demos": {"select": "nearest", "k": 3}})).demonstrations
    assert (other.before, other.after, len(other.added)) == ("1 fixed", "the nearest 3 of 5", 4)


def test_versions_of_two_programs_are_not_compared() -> None:
    with pytest.raises(UsageError, match="Only versions of one program can be compared, got a:A@1 and b:B@2"):
        diff(version(1, {}), version(2, {}, program="b:B"))
