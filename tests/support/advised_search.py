"""A small optimizer that sends errands and looks at traced rows, for tests of what shows and resumes them."""

from __future__ import annotations

from typing import Any

from dspex_coordination import Ask, Told
from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer


class Advised(SearchOptimizer):
    """Looks at traced rows, asks for advice on what it saw, and tries what the advice says."""

    name = "advised"

    def prepare(self) -> None:
        self.heard: list[Any] = []
        self.seen_notes: list[Any] = []

    def propose(self, number: int) -> Ask | None:
        if number == 1:
            return Ask(self.space.default(), split="train", rows=(0, 1), traced=True)
        if self.book.pending:
            return None
        if len(self.heard) < 2:
            return Ask(Candidate({"ask": f"advice {len(self.heard)}"}), split="errand")
        return Ask(self.space.complete({"heat": self.heard[-1] / (number + 1)}))

    def learn(self, told: Told) -> None:
        if told.split == "errand" and told.failed is None and told.outputs[0] is not None:
            self.heard.append(told.outputs[0]["heat"])
        if told.notes:
            self.seen_notes.append([dict(one) for one in told.notes if one is not None])
