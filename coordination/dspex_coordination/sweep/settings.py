"""`SweepSettings`: how a sweep works, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dspex_coordination.errors import SweepError
from dspex_coordination.sweep.stop_rules import StopRule

_PENDING = 4
_FEW = 8  # up to so many workers the number of open trials, and so the result, is always the same
_ROWS_A_WORKER = 10  # rows that must wait in open trials for each worker, so that a slow row keeps nobody idle


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedging:
    """When a unit is given to a second worker: nothing else waits, and it takes longer than this limit.

    The limit is `factor` times the `quantile` of the durations of finished units a row, for as many rows, and at least
    `floor_s` seconds. It is known after `sample` units.
    """

    floor_s: float = 2.0
    quantile: float = 0.95
    factor: float = 2.0
    sample: int = 8

    def __post_init__(self) -> None:
        if not (self.floor_s >= 0 and self.factor > 0 and 0 < self.quantile < 1 and self.sample >= 1):
            raise SweepError(f"hedging needs floor_s >= 0, factor > 0, 0 < quantile < 1 and sample >= 1, got {self!r}.")


_HEDGING = Hedging()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """How a sweep works; all have sound defaults.

    A unit of work has at most `chunk` rows, fewer near the end of the work in sight. `workers` says how many workers
    there will be; None: it is learnt from who answers. At most `max_pending_trials` trials are open at once; None: 4,
    and for more than 8 `workers` as many as keep them busy, which are more if a trial has few rows.

    A `reproducible` sweep tells its optimizer of trials in their order and asks for trial k when all trials up to
    k - max_pending_trials are told and no later one. So the same trials are asked, scored and told whatever the
    number of workers and whoever is quicker. Otherwise trials are told as they finish.

    No further trial is asked when `budget_usd` is spent or `stop` is reached. A row that is lost with `lost_by`
    different workers is left out. `hedge` None: no unit is given to a second worker while the first is at it.
    When the search is over, whatever ended it, the best is scored on a sample of at most `closing_rows` train rows that
    it does not show; if they cannot be had, the sweep ends without. Raises SweepError for a number that cannot be.
    """

    chunk: int = 32
    workers: int | None = None
    max_pending_trials: int | None = None
    reproducible: bool = True
    budget_usd: float | None = None
    stop: StopRule | None = None
    lost_by: int = 3
    hedge: Hedging | None = _HEDGING
    closing_rows: int = 0

    def __post_init__(self) -> None:
        for name in ("chunk", "workers", "max_pending_trials", "lost_by"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SweepError(f"{name} must be at least 1, got {value!r}.")
        if self.budget_usd is not None and not 0 < self.budget_usd < math.inf:
            raise SweepError(f"budget_usd must be above 0, got {self.budget_usd!r}; leave it out for no limit.")

    def pending(self, rows: int) -> int:
        """Return how many trials of so many rows may be open at once."""
        if self.max_pending_trials is not None:
            return self.max_pending_trials
        workers = 0 if self.workers is None or self.workers <= _FEW else self.workers
        return max(_PENDING, math.ceil(_ROWS_A_WORKER * workers / rows))
