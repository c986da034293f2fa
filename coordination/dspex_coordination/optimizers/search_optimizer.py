"""`SearchOptimizer`: what all optimizers owe their caller, so that each of them holds its algorithm only.

| a subclass gives    | called                                          | must                                   |
|---------------------|-------------------------------------------------|----------------------------------------|
| `prepare()`         | at the end of `start`, before a state is loaded | begin afresh, or refuse the search     |
| `propose(number)`   | for each trial after the opening                | give a trial or None; change nothing   |
| `learn(told)`       | after each tell is noted in the book            | use only what was told, in that order  |
| `extra_state()`     | in `state_dict`                                 | be what no book or `learn` brings back |
| `load_extra(extra)` | after a book is loaded and `learn` repeated     | restore that                           |

`propose` returns None to wait for a pending trial, or for ever if none is pending: then the search is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError, SpaceError
from dspex_coordination.optimizers.base import Ask, SearchContext, Told
from dspex_coordination.optimizers.draws import distinct
from dspex_coordination.optimizers.trial_book import TrialBook
from dspex_coordination.space import Space


class SearchOptimizer(ABC):
    """An `Optimizer` around a `TrialBook`. Seed and number of trials are the context's; if given too, they must agree.

    Ready after `start`: `context`, `space` (with the train ids bound to its `Demos`), `book`, and `opening`, the
    candidates every search begins with: the default and the early ones, each once.
    """

    name: str

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None) -> None:
        self._settings = (seed, max_trials)
        self._context: SearchContext | None = None
        self._exhausted = self._all_seen = False

    @abstractmethod
    def propose(self, number: int) -> Ask | None:
        """Return trial `number`, or None to wait, or because nothing is left; see the table above."""

    def prepare(self) -> None:
        """Get ready for the search of `context`. Raises OptimizerError for one that cannot be searched."""
        return

    def learn(self, told: Told) -> None:  # noqa: ARG002 - for those who keep more than the book
        """Take in a result, with its outputs."""
        return

    def extra_state(self) -> dict[str, Any]:
        """Return as JSON what does not follow from the book."""
        return {}

    def load_extra(self, extra: Mapping[str, Any]) -> None:  # noqa: ARG002 - for those who keep more than the book
        """Take over what `extra_state` gave."""
        return

    @property
    def context(self) -> SearchContext:
        """The context. Raises OptimizerError before `start`."""
        if self._context is None:
            raise OptimizerError(f"{self.name}: start(context) comes first.")
        return self._context

    def start(self, context: SearchContext) -> None:
        """Take the context. Raises OptimizerError if this optimizer cannot search it."""
        context.check(self.name, *self._settings)
        self._context = context
        self.space: Space = context.space.bind(context.train_ids, context.train_labels)
        self.opening: tuple[Candidate, ...] = self._opening(context)
        self._begin()

    def ask(self, pending: int) -> Ask | None:  # noqa: ARG002 - the book knows which trials are pending
        """Return the next trial, or None to wait for a pending one or because it is done."""
        if self.done:
            return None
        number = self.book.asked
        ask = Ask(self.opening[number]) if number < len(self.opening) else self.propose(number)
        if ask is not None:
            return self.book.ask(ask)
        self._exhausted = not self.book.pending
        return None

    def tell(self, told: Told) -> None:
        """Take the result of a trial. Raises OptimizerError, and changes nothing, for one that cannot be."""
        self.context  # noqa: B018 - raises before start
        self.book.tell(told)
        self.learn(told)

    @property
    def done(self) -> bool:
        """Whether all trials were asked or no candidate is left."""
        return self._exhausted or self.spent()

    def spent(self) -> bool:
        """Whether the search may open no further trial."""
        return self.context.max_trials <= self.book.trials

    def best(self) -> Told | None:
        """Return the best validation trial told so far, without its outputs."""
        self.context  # noqa: B018 - raises before start
        return self.book.best

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs, as JSON."""
        self.context  # noqa: B018 - raises before start
        return {
            "optimizer": self.name,
            "exhausted": self._exhausted,
            **self.book.state_dict(),
            "extra": self.extra_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Raises OptimizerError for the state of another optimizer."""
        if state.get("optimizer") != self.name:
            raise OptimizerError(f"A state of {state.get('optimizer')!r} cannot be loaded into {self.name!r}.")
        self._begin()
        self.book.load_state_dict(state, self.learn)
        self._exhausted = state["exhausted"]
        self.load_extra(state["extra"])

    def unseen(self, draw: Callable[[int], Candidate | None]) -> Ask | None:
        """Return an ask for the first of `draw(0), draw(1), ...` never asked before, or else for any such candidate.

        None means that every candidate of the space was asked. A draw may be None where it found nothing.
        """
        candidate = None if self._all_seen else distinct(self.space, self.book.seen, draw)
        self._all_seen = candidate is None  # so that a space is not listed again at every ask while trials are pending
        return None if candidate is None else Ask(candidate)

    def _begin(self) -> None:
        self.book = TrialBook(self.name, self.context)
        self._exhausted = self._all_seen = False
        self.prepare()

    def _opening(self, context: SearchContext) -> tuple[Candidate, ...]:
        opening = {candidate.key: candidate for candidate in (self.space.default(), *context.early)}
        problems: list[str] = []
        for position, candidate in enumerate(context.early):
            try:
                self.space.validate(candidate.values)
            except SpaceError as error:
                problems.append(f"\nEarly candidate {position}: {error}")
        if problems:
            raise OptimizerError(f"{self.name} cannot begin with candidates outside the space.{''.join(problems)}")
        return tuple(opening.values())
