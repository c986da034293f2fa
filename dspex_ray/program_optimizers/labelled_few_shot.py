"""Labelled few-shot: train rows as they are, shown to the predictors whose fields are those of the whole program.

The opening comes first, then one drawn set for all predictors and one of the nearest for each question, then sets
drawn anew, of any size, until all are tried. That is `BootstrapFewShot` that never looks: it calls no model but to
score.
"""

from __future__ import annotations

from dspex_coordination.errors import OptimizerError
from dspex_ray.program_optimizers.bootstrap_few_shot import BootstrapFewShot
from dspex_ray.program_optimizers.sketch import ProgramSketch


class LabelledFewShot(BootstrapFewShot):
    """Search for the train rows that all predictors are shown, up to `labelled` by each at once.

    What else the space holds stays as in the best candidate. Raises OptimizerError for a number that cannot be, and
    from `start` where no predictor can show a train row.
    """

    name = "labelled_few_shot"

    def __init__(
        self,
        sketch: ProgramSketch,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        labelled: int = 16,
    ) -> None:
        if labelled < 1:
            raise OptimizerError(f"{self.name}: labelled must be at least 1, got {labelled}.")
        super().__init__(sketch, seed=seed, max_trials=max_trials, labelled=labelled, bootstrapped=0, looks=0)

    def prepare(self) -> None:
        """Find the sets to begin with. Raises OptimizerError if there are none."""
        super().prepare()
        if not any(shelf.ids or shelf.nearest(1) for shelf in self._shelves):
            raise OptimizerError(
                f"{self.name} shows train rows as they are, and none has the fields of a predictor of "
                f"{self._sketch.name} that shows demonstrations. Use 'bootstrap_few_shot', which has the program make "
                "them."
            )
