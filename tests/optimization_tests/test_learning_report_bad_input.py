"""Metrics that give no number, and demonstrations that do harm: what the result says of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray.learning_report.learnt import learnt
from dspex_ray.learning_report.page import page
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.metrics import MetricError
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(20)]


class ConfusedLM:
    """Right as long as nothing is demonstrated."""

    model = "simulated/confused"

    async def complete(self, request: LMRequest) -> LMReply:
        numbers = re.findall(r"is (\d+) even", " ".join(str(one.content) for one in request.messages))
        answer = "yes" if (int(numbers[-1]) % 2 == 0) == (len(numbers) == 1) else "no"
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps({"answer": answer}), model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class UnsureLM(ConfusedLM):
    """Wrong on every third number as well."""

    async def complete(self, request: LMRequest) -> LMReply:
        reply = await super().complete(request)
        number = int(re.findall(r"is (\d+) even", str(request.messages[-1].content))[-1])
        return replace(reply, text=json.dumps({"answer": "?"})) if number % 3 == 0 else reply


class Shown(dspex.Program):
    """Say whether it is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    demos = dspex.Demos(max=4)


def search(store: Store, lm: ConfusedLM | None = None, **options: Any) -> dspex.Optimized:
    program = Shown().with_lm(lm or ConfusedLM())
    chosen = {"optimizer": "bootstrap_few_shot", "trials": 6, "runtime": "in-process", "workers": 1, **options}
    return dspex.optimize(program, ROWS, store=store, **chosen)


def test_demonstrations_that_do_harm_leave_the_untuned_program_and_a_warning(store: Store, tmp_path: Path) -> None:
    found = search(store)
    assert found.score == found.baseline == 1.0
    assert found.program.values["demos"] == {"select": "fixed", "ids": []}
    assert min(trial.mean for trial in found.history if trial.mean is not None) == 0.0
    assert "No candidate was better than the untuned program." in found.warnings
    html = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "the untuned program is the best" in html


def test_the_gap_is_told_in_the_report_where_the_best_was_scored_on_train_rows(store: Store, tmp_path: Path) -> None:
    found = search(store, lm=UnsureLM())
    html = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    train = found.version.facts["train"]
    assert found.gap == pytest.approx(train["score"] - found.score)
    assert f"{100 * train['score'] - 100 * found.score:+.1f} points: {100 * train['score']:.1f} % on train rows" in html


def test_a_gap_that_is_not_known_is_said_to_be_unknown(store: Store) -> None:
    found = learnt(store, search(store, trials=1).run_id)
    assert "unknown: the best was not scored on train rows" not in page(found)
    assert "unknown: the best was not scored on train rows" in page(replace(found, train=None))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_gives_no_number_is_named_before_anything_is_searched(store: Store, value: float) -> None:
    with pytest.raises(MetricError, match="row 0"):
        search(store, metric=lambda example, output: value)  # noqa: ARG005 - a metric's parameters
