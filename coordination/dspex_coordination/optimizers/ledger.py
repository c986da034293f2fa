"""What an optimizer remembers of its trials: those asked, those told, and the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask, Told


class Ledger:
    """Asked and told trials of one optimizer, with the checks every optimizer owes its caller."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._asked: list[Ask] = []
        self._told: set[int] = set()
        self._seen: dict[str, int] = {}
        self.best: Told | None = None

    @property
    def asked(self) -> int:
        """How many trials were asked; the number of the next one."""
        return len(self._asked)

    @property
    def seen(self) -> Mapping[str, int]:
        """The keys of all asked candidates, with the trial that asked first."""
        return self._seen

    def ask(self, ask: Ask) -> Ask:
        """Note a trial and return it."""
        self._seen.setdefault(ask.candidate.key, len(self._asked))
        self._asked.append(ask)
        return ask

    def tell(self, told: Told) -> None:
        """Note a result. Raises OptimizerError for a trial not asked, told before, or of another candidate."""
        if not 0 <= told.number < len(self._asked):
            raise OptimizerError(f"{self._owner}: trial {told.number} was told but never asked.")
        if told.number in self._told:
            raise OptimizerError(f"{self._owner}: trial {told.number} was told twice.")
        asked = self._asked[told.number]
        if (asked.candidate, asked.split) != (told.candidate, told.split):
            raise OptimizerError(
                f"{self._owner}: trial {told.number} asked for {asked.candidate!r} on {asked.split} "
                f"but was told of {told.candidate!r} on {told.split}."
            )
        self._told.add(told.number)
        if told.split == "validation" and told.mean is not None and self._beats_best(told, told.mean):
            self.best = told

    def _beats_best(self, told: Told, mean: float) -> bool:
        if self.best is None or self.best.mean is None:
            return True
        return (mean, -told.number) > (self.best.mean, -self.best.number)

    def state_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON."""
        return {
            "optimizer": self._owner,
            "asked": [
                {"candidate": a.candidate.to_json(), "split": a.split, "rows": None if a.rows is None else list(a.rows)}
                for a in self._asked
            ],
            "told": sorted(self._told),
            "best": None if self.best is None else self.best.to_json(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a saved ledger. Raises OptimizerError for the ledger of another optimizer."""
        if state.get("optimizer") != self._owner:
            raise OptimizerError(f"A state of {state.get('optimizer')!r} cannot be loaded into {self._owner!r}.")
        self._asked, self._seen = [], {}
        for entry in state["asked"]:
            rows = None if entry["rows"] is None else tuple(entry["rows"])
            self.ask(Ask(Candidate(entry["candidate"]), entry["split"], rows))
        self._told = set(state["told"])
        self.best = None if state["best"] is None else Told.from_json(state["best"])
