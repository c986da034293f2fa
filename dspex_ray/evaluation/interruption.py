"""`EvaluationInterruptedError`: Ctrl-C during an evaluation, with the rows done so far."""

from __future__ import annotations

from dspex_ray.evaluation.result import Evaluation


class EvaluationInterruptedError(KeyboardInterrupt):
    """Ctrl-C during an evaluation. `evaluation` holds the rows that were done, in their order; None without any."""

    def __init__(self, evaluation: Evaluation | None, total: int) -> None:
        done = evaluation.rows if evaluation else 0
        figures = f" Their mean score is {evaluation.accuracy:.3f}." if evaluation else ""
        super().__init__(f"Interrupted after {done} of {total} rows.{figures}")
        self.evaluation, self.total = evaluation, total
