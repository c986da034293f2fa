"""Spans as a tree: figures of what is below, time of its own, groups of trials and rows, and what a selection shows."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.store.spans import SpanRecord
from dspex_ray.tracing.from_calls import spans_of_calls
from dspex_ray.tracing.otlp_json import otlp_json
from dspex_ray.tracing.tree import SpanNode, selected, span_trees


def record(id_: int, parent: int | None = None, start: float = 0.0, end: float = 10.0, **fields: Any) -> SpanRecord:
    attributes = fields.pop("attributes", {})
    return SpanRecord(
        trace_id="a" * 32,
        span_id=f"{id_:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name=fields.pop("name", f"s{id_}"),
        start_ns=round(start * 1e9),
        end_ns=round(end * 1e9),
        attributes=attributes,
        **fields,
    )


def chat(id_: int, parent: int, cost: float | None = 0.5, **attributes: Any) -> SpanRecord:
    told = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2}
    return record(id_, parent, 1.0, 2.0, attributes={**told, "dspex.cost_usd": cost, **attributes})


def names(nodes: list[SpanNode]) -> list[Any]:
    return [(node.name, names(node.children)) if node.children else node.name for node in nodes]


def test_the_time_of_its_own_is_when_no_child_ran_whether_they_overlap_or_outlast_it() -> None:
    (root,) = span_trees([record(1), record(2, 1, 1, 4), record(3, 1, 2, 5), record(4, 1, 9, 99)])
    assert root.self_s == 5.0
    assert root.duration_s == 10.0


def test_tokens_and_cost_are_those_of_all_model_calls_below() -> None:
    (root,) = span_trees([record(1), record(2, 1), chat(3, 2), chat(4, 2, cost=None), chat(5, 1)])
    assert (root.calls, root.tokens_in, root.tokens_out, root.cost_usd, root.unpriced) == (3, 30, 6, 1.0, 1)


def test_a_cached_call_without_a_price_is_not_one_of_unknown_price() -> None:
    (root,) = span_trees([record(1), chat(2, 1, cost=None, **{"dspex.cached": True})])
    assert root.unpriced == 0


def test_a_span_whose_parent_was_not_kept_is_a_root() -> None:
    assert names(span_trees([record(2, 99, 3), record(1, None, 1)])) == ["s1", "s2"]


def tagged(id_: int, parent: int, trial: int | None = None, row: int | None = None) -> SpanRecord:
    told = {"dspex.trial": trial, "dspex.row": row}
    return record(id_, parent, start=id_, attributes={k: v for k, v in told.items() if v is not None})


def test_trials_and_rows_are_groups_once_and_one_alone_has_it_before_its_name() -> None:
    spans = [
        record(1),
        tagged(2, 1, trial=0),
        tagged(3, 1, trial=0),
        tagged(4, 1, trial=1),
        tagged(5, 2, trial=0, row=7),
        tagged(6, 2, trial=0, row=7),
        tagged(8, 2, trial=0, row=9),
        tagged(9, 8, trial=0, row=9),
    ]
    assert names(span_trees(spans)) == [
        (
            "s1",
            [
                ("trial 0", [("s2", [("row 7", ["s5", "s6"]), ("row 9: s8", ["s9"])]), "s3"]),
                "trial 1: s4",
            ],
        )
    ]


def test_a_selection_keeps_the_upper_spans_and_says_how_many_it_left_out() -> None:
    spans = [record(1), record(2, 1), record(3, 1), record(4, 2), record(5, 4), record(6, 3)]
    (root,) = selected(span_trees(spans), 3)
    assert names([root]) == [("s1", ["s2", "s3"])]
    assert [child.hidden for child in root.children] == [2, 1]
    assert root.children[0].self_s == 0.0  # what is not shown ran all the same


def test_only_branches_with_a_failure_are_selected_and_the_slowest_come_first_on_request() -> None:
    spans = [record(1), record(2, 1, 0, 1), record(3, 1, 1, 9), record(4, 2, status="error"), record(5, 3)]
    assert names(selected(span_trees(spans), 100, errors=True)) == [("s1", [("s2", ["s4"])])]
    assert names(selected(span_trees(spans), 100, slowest=True)) == [("s1", [("s3", ["s5"]), ("s2", ["s4"])])]


@given(st.lists(st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(0, 12))), unique_by=lambda p: p[0]))
def test_every_span_with_a_way_to_a_root_is_in_the_tree_once(pairs: list[tuple[int, int | None]]) -> None:
    parents = dict(pairs)

    def has_root(id_: int) -> bool:
        seen = set()
        at: int | None = id_
        while at is not None and at in parents:
            if at in seen:
                return False
            seen.add(at)
            at = parents[at]
        return True

    trees = span_trees(record(id_, parent) for id_, parent in pairs)
    assert sum(root.size() for root in trees) == sum(map(has_root, parents))
    shown = selected(trees, 5)
    assert sum(root.size() for root in shown) <= 5


def test_otlp_json_has_the_ids_times_kinds_and_typed_values_of_the_protocol() -> None:
    attributes = {"dspex.row": 3, "dspex.cached": True, "dspex.cost_usd": 0.5, "a.b": ["x"], "dspex.error": "no"}
    given_spans = [record(1), record(2, 1, 1, 2, status="error", kind="CLIENT", attributes=attributes)]
    (scope,) = otlp_json(given_spans)["resourceSpans"][0]["scopeSpans"]
    first, second = scope["spans"]
    assert "parentSpanId" not in first
    assert (second["traceId"], second["parentSpanId"], second["kind"]) == ("a" * 32, f"{1:016x}", 3)
    assert second["startTimeUnixNano"] == "1000000000"
    assert second["status"] == {"code": 2, "message": "no"}
    assert {one["key"]: one["value"] for one in second["attributes"]} == {
        "dspex.row": {"intValue": "3"},
        "dspex.cached": {"boolValue": True},
        "dspex.cost_usd": {"doubleValue": 0.5},
        "a.b": {"arrayValue": {"values": [{"stringValue": "x"}]}},
        "dspex.error": {"stringValue": "no"},
    }


def test_calls_of_the_ledger_become_spans_below_the_run() -> None:
    call = {"model": "openai/m", "prompt_tokens": 7, "completion_tokens": 1, "latency_s": 0.5, "cost_usd": 0.1}
    calls = [
        {**call, "id": "1", "at": 5.0, "status": "ok", "trial": 0, "row": 3},
        {**call, "id": "2", "at": 6.0, "status": "error", "error": "LMTimeoutError: late", "trial": 1, "row": 4},
    ]
    (root,) = span_trees(spans_of_calls("run-1", calls))
    assert names([root]) == [("run-1", ["trial 0: row 3: chat m", "trial 1: row 4: chat m"])]
    assert (root.duration_s, root.calls, root.errors) == (1.5, 2, 1)
    assert root.children[1].attributes["error.type"] == "LMTimeoutError"
    assert spans_of_calls("run-1", []) == []
