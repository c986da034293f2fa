"""The chain of the audit record: any change to it is found, and where."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.access.audit import Action, AuditEntry, Head, canonical, entry, verify
from dspex_ray.errors import AuditError, UsageError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def chain(count: int, **details: Any) -> list[AuditEntry]:
    kept: list[AuditEntry] = []
    head = Head()
    for n in range(count):
        one = entry(head, Action(by="ann", action="key.create", subject=f"k{n}", details=details), 10.0 + n)
        head = Head(one.number, one.hash)
        kept.append(one)
    return kept


def test_a_whole_chain_is_verified_to_its_head() -> None:
    kept = chain(3)
    assert verify(kept) == Head(3, kept[-1].hash)
    assert verify([]) == Head()


@given(json_values)
def test_details_come_back_as_they_were_and_have_one_text(value: Any) -> None:
    kept = chain(1, value=value)[0]
    assert kept.to_json()["details"] == json.loads(json.dumps({"value": value}))
    assert canonical(json.loads(kept.details)) == kept.details


@given(
    st.integers(0, 3),
    st.sampled_from(["at", "by", "action", "subject", "details", "previous", "hash", "number"]),
)
def test_a_changed_field_of_any_entry_is_found(place: int, name: str) -> None:
    kept = chain(4)
    was = getattr(kept[place], name)
    changes: dict[str, Any] = {name: was + 1 if name in ("at", "number") else f"{was}x"}
    kept[place] = replace(kept[place], **changes)
    with pytest.raises(AuditError, match=rf"Entry ({place + 1}|{place + 2}) "):
        verify(kept)


@given(st.integers(0, 3), st.data())
def test_a_changed_entry_with_a_fitting_hash_breaks_the_link_after_it(place: int, data: st.DataObject) -> None:
    kept = chain(5)
    changed = replace(kept[place], by="bob")
    kept[place] = replace(changed, hash=changed.true_hash())
    with pytest.raises(AuditError, match=f"Entry {place + 2} does not follow entry {place + 1}"):
        verify(kept)


@given(st.integers(0, 3))
def test_an_entry_taken_out_is_named(place: int) -> None:
    kept = chain(5)
    del kept[place]
    with pytest.raises(AuditError, match=f"Entry {place + 1} is missing; the next one there is {place + 2}"):
        verify(kept)


def test_the_last_entries_cut_off_are_found_by_a_noted_head() -> None:
    kept = chain(4)
    noted = Head(4, kept[-1].hash)
    assert verify(kept[:3]) == Head(3, kept[2].hash)
    with pytest.raises(AuditError, match="ends at entry 3, but had 4"):
        verify(kept[:3], noted)


def test_a_chain_written_anew_is_found_by_a_noted_head() -> None:
    noted = Head(2, chain(2)[-1].hash)
    assert verify(chain(4), noted).number == 4
    with pytest.raises(AuditError, match="Entry 2 is another one than was noted"):
        verify(chain(4, forged=True), noted)


def test_a_chain_of_no_entries_follows_a_head_noted_before_the_first() -> None:
    assert verify(chain(2), Head()).number == 2


def test_a_head_is_read_as_it_is_written() -> None:
    head = Head(2, chain(2)[-1].hash)
    assert Head.parse(f" {head}\n") == head
    with pytest.raises(UsageError, match="NUMBER:HASH"):
        Head.parse("2")


@pytest.mark.parametrize("details", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}])
def test_details_that_are_no_json_are_refused(details: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be JSON"):
        chain(1, **details)


def test_details_beyond_the_bound_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 50000 are kept"):
        chain(1, x="y" * 50_000)
