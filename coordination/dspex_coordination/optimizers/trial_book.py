"""What an optimizer remembers of its trials: asked, pending, told, seen, and the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError, SpaceError
from dspex_coordination.objectives.comparison import Leaders, gains, measured, violation
from dspex_coordination.optimizers.base import Ask, SearchContext, Told


class TrialBook:
    """The trials of one optimizer in one search, with the checks every optimizer owes its caller.

    Results are kept without their outputs. `earlier` holds those trials of earlier runs that can inform this search:
    on validation rows, scored, with every measure it compares by, and with a candidate of its space. `rows_asked` is
    the number of rows asked, those left out that a trial takes over from an earlier one of the same candidate; `trials`
    is the number of trials asked, errands left out of both.
    """

    def __init__(self, owner: str, context: SearchContext) -> None:
        self._owner, self._context = owner, context
        self._asks: list[Ask] = []
        self._pending: dict[int, Ask] = {}
        self._told: dict[int, Told] = {}
        self._seen: dict[str, int] = {}
        self._looks: dict[str, int] = {}
        self._latest: dict[str, Told] = {}
        self.rows_asked = self.trials = 0
        self._leaders: Leaders[Told] = Leaders(context)
        self.earlier: tuple[Told, ...] = tuple(_bare(told) for told in context.earlier if self._informs(told))

    @property
    def asked(self) -> int:
        """How many trials were asked; the number of the next one."""
        return len(self._asks)

    @property
    def asks(self) -> Sequence[Ask]:
        """Every trial asked, by number."""
        return self._asks

    @property
    def pending(self) -> Mapping[int, Ask]:
        """The trials asked and not yet told, by number, in the order of the asks."""
        return self._pending

    @property
    def told(self) -> Mapping[int, Told]:
        """The trials told, failed ones too, by number, in the order of the tells."""
        return self._told

    @property
    def seen(self) -> Mapping[str, int]:
        """The keys of all asked candidates, with the trial that asked first."""
        return self._seen

    @property
    def looks(self) -> Mapping[str, int]:
        """By a candidate's key the most validation rows that one trial asked of it."""
        return self._looks

    @property
    def scored(self) -> Mapping[str, Told]:
        """By a candidate's key its scored validation trial on the most rows, of a tie the one told last."""
        return self._latest

    @property
    def best(self) -> Told | None:
        """The best validation trial told so far, by the contract of `Optimizer.best`."""
        return self._leaders.best

    def ask(self, ask: Ask) -> Ask:
        """Note a trial and return it."""
        self._pending[self.asked] = ask
        self._asks.append(ask)
        if ask.split == "errand":
            return ask
        self._seen.setdefault(ask.candidate.key, self.asked - 1)
        self.trials += 1
        self.rows_asked += self.cost(ask)
        if ask.split == "validation":
            key = ask.candidate.key
            self._looks[key] = max(self._looks.get(key, 0), self._rows_of(ask))
        return ask

    def cost(self, ask: Ask) -> int:
        """Return how many rows a trial would add to those asked of its candidate before."""
        known = 0 if ask.fresh or ask.split == "train" else self._looks.get(ask.candidate.key, 0)
        return max(0, self._rows_of(ask) - known)

    def tell(self, told: Told) -> None:
        """Note a result.

        Raises OptimizerError, and notes nothing, for a trial not asked, told before, of another candidate, on rows not
        asked for, or without a measure that the search compares by.
        """
        self._check(told)
        self._note(_bare(told))

    def state_dict(self) -> dict[str, Any]:
        """Return the book as JSON."""
        return {
            "asked": [
                {
                    "candidate": ask.candidate.to_json(),
                    "split": ask.split,
                    "rows": None if ask.rows is None else list(ask.rows),
                    "fresh": ask.fresh,
                    "traced": ask.traced,
                    "teacher": ask.teacher,
                }
                for ask in self._asks
            ],
            "told": [{**told.to_json(), "candidate": None, "outputs": None} for told in self._told.values()],
        }

    def load_state_dict(self, state: Mapping[str, Any], learn: Callable[[Told], None]) -> None:
        """Take over a saved book, and call `learn` with each result as it is noted, in the order of the tells."""
        for entry in state["asked"]:
            rows = None if entry["rows"] is None else tuple(entry["rows"])
            wishes = {name: entry[name] for name in ("fresh", "traced", "teacher")}
            self.ask(Ask(Candidate(entry["candidate"]), entry["split"], rows, **wishes))
        for entry in state["told"]:
            candidate = self._asks[entry["number"]].candidate.to_json()
            blank = [None] * len(entry["rows"])
            told = Told.from_json({**entry, "candidate": candidate, "outputs": blank})
            self._note(told)
            learn(told)

    def _rows_of(self, ask: Ask) -> int:
        return self._context.rows_of(ask.split) if ask.rows is None else len(ask.rows)

    def _note(self, told: Told) -> None:
        del self._pending[told.number]
        self._told[told.number] = told
        if told.split != "validation" or told.mean is None:
            return
        former = self._latest.get(told.candidate.key)
        if former is None or len(told.rows) >= len(former.rows):
            self._latest[told.candidate.key] = told
        self._leaders.add(told)

    def _check(self, told: Told) -> None:
        number = told.number
        if not 0 <= number < len(self._asks):
            raise OptimizerError(f"{self._owner}: trial {number} was told but never asked.")
        if number in self._told:
            raise OptimizerError(f"{self._owner}: trial {number} was told twice.")
        asked = self._asks[number]
        if (asked.candidate.key, asked.split) != (told.candidate.key, told.split):
            raise OptimizerError(
                f"{self._owner}: trial {number} asked for {asked.candidate!r} on {asked.split} "
                f"but was told of {told.candidate!r} on {told.split}."
            )
        known = range(self._context.rows_of(asked.split)) if asked.rows is None else frozenset(asked.rows)
        strange = sorted(row for row in told.rows if row not in known)
        if strange:
            raise OptimizerError(f"{self._owner}: trial {number} was told of rows it did not ask for: {strange}.")
        if told.split == "validation" and told.mean is not None:
            gains(told.measures, self._context.objectives)  # both raise for a measure that is not there
            violation(told.measures, self._context.bounds)

    def _informs(self, told: Told) -> bool:
        if told.split != "validation" or told.mean is None or not measured(told, self._context):
            return False
        try:
            self._context.space.validate(told.candidate.values)
        except SpaceError:
            return False
        return True


def _bare(told: Told) -> Told:
    return replace(told, outputs=(None,) * len(told.rows), notes=())
