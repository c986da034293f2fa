"""The CloudEvents envelope: what it refuses, and its JSON format."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_agents import CountingIds, ManualClock, Signal, SignalError

GOOD = {"id": "1", "source": "/tests", "type": "order.paid"}


def test_a_signal_of_this_moment_has_a_fresh_id_and_an_rfc_3339_time() -> None:
    signal = Signal.create("a.b", "/x", {"n": 1}, ids=CountingIds(), clock=ManualClock(1.5), subject="s")
    assert (signal.id, signal.time, signal.subject) == ("signal-1", "1970-01-01T00:00:01.500000Z", "s")


@pytest.mark.parametrize(
    ("attribute", "value", "told"),
    [
        ("id", "", "must not be empty"),
        ("id", 7, "must be text, got int"),
        ("source", "two words", "URI reference"),
        ("source", "/100%", "URI reference"),
        ("type", None, "must be text, got NoneType"),
        ("type", "a\nb", r"U\+000A at 1"),
        ("subject", "", "must not be empty"),
        ("subject", "\ud800", r"U\+D800"),
        ("specversion", "0.3", "must be '1.0'"),
        ("time", "2026-01-31", "RFC 3339"),
        ("time", "2026-02-30T00:00:00Z", "day"),
        ("time", "2026-01-31T24:00:00Z", "hour"),
        ("time", "2026-01-31T00:00:61Z", "RFC 3339"),
        ("time", "2026-01-31T00:00:00+24:00", "RFC 3339"),
        ("time", "٢026-01-31T00:00:00Z", "RFC 3339"),
        ("datacontenttype", "json", "media type"),
        ("dataschema", "schema.json", "absolute URI"),
        ("data", {"a": [float("nan")]}, r"data\.a\[0\] is nan"),
        ("data", {"a": object()}, r"data\.a is a object"),
        ("data", {0: 1}, "has 0"),
        ("extensions", {"Trace": "x"}, "lower-case"),
        ("extensions", {"data": "x"}, "cannot be an extension"),
        ("extensions", {"trace": 1.5}, "whole number of 32 bits"),
        ("extensions", {"trace": 2**31}, "whole number of 32 bits"),
        ("extensions", {"trace": "\x00"}, "control"),
    ],
)
def test_a_bad_attribute_is_named_with_what_would_be_right(attribute: str, value: Any, told: str) -> None:
    with pytest.raises(SignalError, match=told) as caught:
        Signal(**{**GOOD, attribute: value})
    name = next(iter(value)) if attribute == "extensions" else attribute
    assert caught.value.attribute == name
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "time", ["1990-12-31T23:59:60Z", "2024-02-29t00:00:00.123456789z", "2026-01-31T00:00:00-05:30"]
)
def test_every_form_of_an_rfc_3339_time_is_taken(time: str) -> None:
    assert Signal(**GOOD, time=time).time == time


def test_the_json_format_is_that_of_the_specification() -> None:
    text = (
        '{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,"id":"C234-1234-1234",'
        '"time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,'
        '"datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AAEC"}'
    )
    signal = Signal.from_json(text)
    assert signal.data == b"\x00\x01\x02"
    assert signal.extensions == {"comexampleextension1": "value", "comexampleothervalue": 5}
    expected = {name: value for name, value in json.loads(text).items() if value is not None}
    assert json.loads(signal.to_json()) == expected


@pytest.mark.parametrize(
    ("text", "attribute", "told"),
    [
        ("{", "(event)", "no JSON text"),
        (b"\xff", "(event)", "no JSON text"),
        ("[]", "(event)", "must be a JSON object"),
        ("[" * 100_000, "(event)", "nested deeper"),
        ('{"specversion":"1.0","id":"1","source":"/a"}', "type", "required and missing"),
        ('{"id":"1","id":"2"}', "id", "occurs twice"),
        ('{"specversion":"1.0","id":"1","source":"/a","type":"t","data":NaN}', "data", "no NaN"),
        ('{"specversion":"1.0","id":"1","source":"/a","type":"t","data":1,"data_base64":""}', "data", "exclude"),
        ('{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"?"}', "data_base64", "no base64"),
        ('{"specversion":"1.0","id":"1","source":"/a","type":"t","trace":{}}', "trace", "must be text"),
    ],
)
def test_json_that_is_no_event_is_refused_with_the_reason(text: str | bytes, attribute: str, told: str) -> None:
    with pytest.raises(SignalError, match=told) as caught:
        Signal.from_json(text)
    assert caught.value.attribute == attribute


def test_data_is_copied_so_that_nobody_changes_it_afterwards() -> None:
    data = {"items": [1]}
    signal = Signal(**GOOD, data=data)
    data["items"].append(2)
    assert signal.data == {"items": [1]}


def test_two_signals_of_one_source_and_id_hash_alike() -> None:
    assert hash(Signal(**GOOD, data=[1])) == hash(Signal(**GOOD, data=[2]))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no failure
@given(
    data=_json | st.binary(),
    type_=st.from_regex(r"[a-z.]{1,12}", fullmatch=True),
    extensions=st.dictionaries(
        st.from_regex(r"x[a-z0-9]{0,5}", fullmatch=True), st.booleans() | st.integers(-(2**31), 2**31 - 1), max_size=3
    ),
)
def test_what_goes_out_as_json_comes_back_the_same(data: Any, type_: str, extensions: dict[str, Any]) -> None:
    signal = Signal(id="1", source="/tests", type=type_, data=data, extensions=extensions, time="2026-01-31T00:00:00Z")
    assert Signal.from_json(signal.to_json()) == signal
    assert pickle.loads(pickle.dumps(signal)) == signal
