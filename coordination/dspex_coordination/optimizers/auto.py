"""Choosing an optimizer by space, budget and objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Optimizer, SearchContext, Told
from dspex_coordination.optimizers.registry import make_optimizer

_MODEL_BASED_UP_TO = 1000  # trials; beyond that a model of all of them costs more than its better guesses save
_MANY_ROWS = 64  # validation rows from which on a look at some of them can save much


@dataclass(frozen=True, slots=True)
class Chosen:
    """An optimizer's name and, as a sentence, why it was chosen."""

    name: str
    reason: str


def choose(context: SearchContext) -> Chosen:
    """Return the optimizer that suits this search; it depends on space, numbers of trials and rows, and objectives."""
    space, trials = context.space.bind(context.train_ids, context.train_labels), context.max_trials
    count = space.count(trials)
    if count is not None:
        what = f"{count} candidate{'s' if count > 1 else ''}"
        return Chosen("grid", f"The space has {what} and {trials} trials are allowed: all can be tried.")
    if len(context.objectives) > 1:
        return Chosen("nsga2", f"There are {len(context.objectives)} objectives, so a whole front is looked for.")
    if space.demos and context.train_rows:
        return Chosen("bootstrap", "The program shows demonstrations, and what it answers well makes good ones.")
    scales = [space.variables[name].scale for name in space.free]
    structured = sum(scale == "structured" for scale in scales)
    if trials > _MODEL_BASED_UP_TO:
        name, reason = "genetic", f"With {trials} trials breeding from the best is cheap and good."
    elif 2 * structured > len(scales):
        name, reason = "genetic", "Most variables lie on no axis that could be modelled."
    else:
        name, reason = "beacon", f"With {trials} trials a model of what was seen finds good candidates soonest."
    if context.validation_rows >= _MANY_ROWS:
        return Chosen(
            f"halving:{name}", f"{reason} Of {context.validation_rows} rows a few show who deserves them all."
        )
    return Chosen(name, reason)


class Auto:
    """The optimizer that `choose` gives for the context; `chosen` says which and why, after `start`."""

    name = "auto"

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None) -> None:
        self._settings = (seed, max_trials)
        self._inner: Optimizer | None = None
        self.chosen: Chosen | None = None

    def start(self, context: SearchContext) -> None:
        """Choose, and start the chosen one."""
        context.check(self.name, *self._settings)
        self.chosen = choose(context)
        self._inner = make_optimizer(self.chosen.name, seed=context.seed, max_trials=context.max_trials)
        self._inner.start(context)

    def ask(self, pending: int) -> Ask | None:
        """Ask the chosen one."""
        return self._started().ask(pending)

    def tell(self, told: Told) -> None:
        """Tell the chosen one."""
        self._started().tell(told)

    @property
    def done(self) -> bool:
        """Whether the chosen one is done."""
        return self._started().done

    def best(self) -> Told | None:
        """Return the best by the chosen one."""
        return self._started().best()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the chosen one, under its name."""
        inner = self._started()
        return {"optimizer": self.name, "chosen": inner.name, "state": inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Raises OptimizerError for that of another optimizer, or another choice."""
        inner = self._started()
        if (state.get("optimizer"), state.get("chosen")) != (self.name, inner.name):
            described = f"{state.get('optimizer')!r} (chosen: {state.get('chosen')!r})"
            raise OptimizerError(
                f"A state of {described} cannot be loaded into {self.name!r} (chosen: {inner.name!r})."
            )
        inner.load_state_dict(state["state"])

    def _started(self) -> Optimizer:
        if self._inner is None:
            raise OptimizerError(f"{self.name}: start(context) comes first.")
        return self._inner
