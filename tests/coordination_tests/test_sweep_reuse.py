"""Rows of a candidate that are known are not paid for again, and a resumed run takes over the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dspex_coordination import Ask, SearchContext, Told

Toy = Any  # the class of the `toy` fixture in conftest.py


class Script:
    """Asks for what it was given, the rows in the second place as they are."""

    name = "script"

    def __init__(self, asks: list[Callable[[Any], Ask]]) -> None:
        self._asks, self.heard = asks, list[Told]()

    def start(self, context: SearchContext) -> None:
        self._default, self._next = context.space.default(), 0

    def ask(self, pending: int) -> Ask | None:
        if self.done or pending:
            return None
        self._next += 1
        return self._asks[self._next - 1](self._default)

    def tell(self, told: Told) -> None:
        self.heard.append(told)

    @property
    def done(self) -> bool:
        return self._next >= len(self._asks)

    def best(self) -> Told | None:
        return self.heard[0] if self.heard else None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise NotImplementedError


STEPS: list[Callable[[Any], Ask]] = [
    lambda default: Ask(default, "validation", (0, 1, 2)),
    lambda default: Ask(default, "validation", (1, 2, 3, 4)),
    lambda default: Ask(default, "train", (1, 2)),
    lambda default: Ask(default, "validation", (0, 1), fresh=True),
    lambda default: Ask(default, "validation", (0, 1, 2, 3, 4)),
]


def test_a_longer_look_pays_only_for_the_rows_it_adds(toy: Toy) -> None:
    script = Script(STEPS)
    result = toy.run(optimizer=script)
    assert toy.evaluated == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 0), (3, 1)]
    assert [told.rows for told in script.heard] == [(0, 1, 2), (1, 2, 3, 4), (1, 2), (0, 1), (0, 1, 2, 3, 4)]
    assert [len(told.outputs) for told in script.heard] == [3, 4, 2, 2, 5]
    assert script.heard[4].outputs == tuple({"text": f"answer {row}"} for row in range(5))
    assert script.heard[1].scores[:2] == script.heard[0].scores[1:]
    assert result.trials[4].cost_usd == script.heard[4].cost_usd == 0.0
    assert script.heard[4].measures["cost_usd"] == pytest.approx(sum(0.1 + row / 7 for row in range(5)) / 5)
    assert result.cost_usd == pytest.approx(sum(trial.cost_usd for trial in result.trials))


def test_a_resumed_run_takes_over_the_same_rows(make_toy: Callable[[], Toy]) -> None:
    whole = Script(STEPS)
    make_toy().run(optimizer=whole, chunk=2)
    for pushes in range(1, 6):
        toy = make_toy()
        broken = toy.sweep(optimizer=Script(STEPS), chunk=2)
        broken.open()
        toy.drive(broken, pushes=pushes)
        again = Script(STEPS)
        toy.run(optimizer=again, chunk=2)
        assert again.heard == whole.heard
        assert len(set(toy.evaluated)) == len(toy.evaluated)


def test_a_trial_of_known_rows_alone_is_told_without_any_work(toy: Toy) -> None:
    script = Script([STEPS[0], STEPS[0], STEPS[0]])
    result = toy.run(optimizer=script)
    assert len(toy.evaluated) == 3
    assert [trial.mean for trial in result.trials] == [result.trials[0].mean] * 3
