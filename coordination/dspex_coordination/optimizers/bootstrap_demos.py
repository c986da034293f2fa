"""Search over demonstrations: random, label-balanced, bootstrapped and nearest-of-the-pool.

Bootstrapping is DSPy's BootstrapFewShot (Khattab et al. 2023, arXiv:2310.03714): train rows that the program itself
answers well become demonstrations. Balanced sets and nearest neighbours (Liu et al. 2021, arXiv:2101.06804) join it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, SearchContext, Told
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.variables import Demos

BOOTSTRAP_ROWS = 64
_ON_PLAN = 8  # attempts that keep to the trial's family and defaults before it may vary more
_OFF_PLAN = 100  # attempts after which any candidate of the space will do


class BootstrapDemos(SearchOptimizer):
    """Search for a space with at least one `Demos` variable.

    The first trial after the default and the early ones is the default on up to 64 seeded train rows; those that score
    at least `threshold` are the bootstrapped demonstrations (`bootstrapped` names their ids). It is left out if no
    trial would be left to use them, or there are no train rows. Every later trial tries one family: nearest first, then
    all families in a new order in each round. Other variables keep their defaults in every second trial and are
    sampled in the rest. A candidate depends on seed, trial number and bootstrap outcome alone, and never repeats.
    Raises OptimizerError from `start` if the space has no `Demos` variable.
    """

    name = "bootstrap"

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None, threshold: float = 1.0) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        if isinstance(threshold, bool) or not math.isfinite(threshold):
            raise OptimizerError(f"{self.name}: threshold must be a finite score, got {threshold!r}.")
        self._threshold = threshold
        self.bootstrapped: tuple[str, ...] | None = None

    def prepare(self) -> None:
        """Raise OptimizerError for a space without `Demos`."""
        if not self.space.demos:
            raise OptimizerError(
                f"{self.name} needs a Demos variable, this space has {', '.join(self.space.names) or 'no variables'}. "
                "Declare one, such as `demos = Demos(max=16)`, or use the optimizer 'random'."
            )
        context = self.context
        self._by_label = _grouped(context.train_ids, context.train_labels)
        self._bootstraps = context.max_trials - len(self.opening) > 1 and context.train_rows > 0
        self.bootstrapped = None

    def propose(self, number: int) -> Ask | None:
        """Return the next trial; None while the bootstrap trial is out."""
        if self._bootstraps and number == len(self.opening):
            return Ask(self.space.default(), "train", self._bootstrap_rows(self.context))
        if self._bootstraps and self.bootstrapped is None:
            return None
        return self.unseen(lambda attempt: self._draw(number, attempt))

    def learn(self, told: Told) -> None:
        """Take the bootstrapped demonstrations from the train trial."""
        if told.split == "train":
            ids = self.context.train_ids
            good = [
                row
                for row, score in zip(told.rows, told.scores, strict=True)
                if score is not None and score >= self._threshold
            ]
            self.bootstrapped = tuple(ids[row] for row in good) if told.failed is None else ()

    def _bootstrap_rows(self, context: SearchContext) -> tuple[int, ...]:
        count = min(BOOTSTRAP_ROWS, context.train_rows)
        return tuple(sorted(seeded(context.seed, "bootstrap").sample(range(context.train_rows), count)))

    def _draw(self, number: int, attempt: int) -> Candidate | None:
        """Return the candidate of trial `number` at its `attempt`-th try: ever freer, until anything goes."""
        seed = self.context.seed
        rng = seeded(seed, self.name, number, attempt)
        families = self._families()
        if attempt >= _OFF_PLAN or not families:
            return self.space.sample(rng)
        turn, position = divmod(number - len(self.opening) - self._bootstraps, len(families))
        order = _shuffled(families, seeded(seed, self.name, "turn", turn))
        if turn == 0:
            order.sort(key=lambda family: family != "nearest")  # the strongest family, even in the shortest search
        family = order[position] if attempt < _ON_PLAN else rng.choice(families)
        keep_defaults = attempt < _ON_PLAN and (turn + position) % 2 == 0
        values: dict[str, Any] = {}
        for name in sorted(self.space.free):
            variable = self.space.variables[name]
            if isinstance(variable, Demos):
                values[name] = self._demos(variable, family, turn + attempt, rng)
            else:
                values[name] = variable.default if keep_defaults else variable.sample(rng)
        return self.space.repair(values, rng)

    def _families(self) -> list[str]:
        return sorted({family for variable in self.space.demos.values() for family in self._families_of(variable)})

    def _families_of(self, variable: Demos) -> list[str]:
        if not variable.pool or variable.max == 0:
            return []
        families = ["nearest"] if variable.allows_nearest else []
        if "fixed" in variable.select:
            families.append("labelled")
            families += ["balanced"] if len(self._by_label) > 1 else []
            families += ["bootstrapped"] if self.bootstrapped else []
        return families

    def _demos(self, variable: Demos, family: str, step: int, rng: random.Random) -> dict[str, Any]:
        families = self._families_of(variable)
        if not families:
            return dict(variable.default)
        pool = variable.pool or ()
        match family if family in families else rng.choice(families):
            case "nearest":
                sizes = _shuffled(_ladder(min(variable.max, len(pool))), seeded(self.context.seed, "nearest"))
                return {"select": "nearest", "k": sizes[step % len(sizes)]}
            case "balanced":
                return {
                    "select": "fixed",
                    "ids": self._balanced(rng.choice(_ladder(min(variable.max, len(pool)))), rng),
                }
            case "bootstrapped":
                pool = self.bootstrapped or ()
        size = rng.choice(_ladder(min(variable.max, len(pool))))
        return {"select": "fixed", "ids": rng.sample(pool, size)}

    def _balanced(self, size: int, rng: random.Random) -> list[str]:
        """Return `size` ids, no label twice before every label that has ids left was taken once more."""
        stacks = [_shuffled(ids, rng) for _, ids in sorted(self._by_label.items())]
        ids: list[str] = []
        while len(ids) < size:
            stacks = _shuffled([stack for stack in stacks if stack], rng)
            ids += [stack.pop() for stack in stacks[: size - len(ids)]]
        return _shuffled(ids, rng)


def _grouped(ids: Sequence[str], labels: Sequence[str] | None) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for one, label in zip(ids, labels or (), strict=labels is not None):
        groups.setdefault(label, []).append(one)
    return groups


def _ladder(top: int) -> list[int]:
    """Return 1, 2, 4, ... below `top`, then `top` itself."""
    return [*(2**power for power in range(top.bit_length()) if 2**power < top), top]


def _shuffled(items: Sequence[Any], rng: random.Random) -> list[Any]:
    return rng.sample(items, len(items))
