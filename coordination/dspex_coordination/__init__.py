"""Search and teamwork: variable spaces, optimizers and sweeps that survive a crash.

This floor knows no program and no prompt. It asks an optimizer for candidates, hands work to agents, and journals
what comes back.
"""

from __future__ import annotations

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import (
    CoordinationError,
    JournalError,
    OptimizerError,
    ResumeError,
    SpaceError,
    SweepError,
    UnboundVariableError,
    UnknownOptimizerError,
    UnknownSweepError,
    VariableError,
)
from dspex_coordination.optimizers import (
    OPTIMIZERS,
    Ask,
    BootstrapDemos,
    Optimizer,
    RandomSearch,
    SearchContext,
    Split,
    Told,
    make_optimizer,
)
from dspex_coordination.space import Space
from dspex_coordination.sweep import (
    SWEEP_MIGRATIONS,
    EvaluateRows,
    RowResult,
    RowsEvaluated,
    Sweep,
    SweepRecord,
    SweepResult,
    SweepStatus,
    SweepStore,
    TrialSummary,
)
from dspex_coordination.variables import Bool, Choice, Demos, Float, Int, Variable

__all__ = [
    "OPTIMIZERS",
    "SWEEP_MIGRATIONS",
    "Ask",
    "Bool",
    "BootstrapDemos",
    "Candidate",
    "Choice",
    "CoordinationError",
    "Demos",
    "EvaluateRows",
    "Float",
    "Int",
    "JournalError",
    "Optimizer",
    "OptimizerError",
    "RandomSearch",
    "ResumeError",
    "RowResult",
    "RowsEvaluated",
    "SearchContext",
    "Space",
    "SpaceError",
    "Split",
    "Sweep",
    "SweepError",
    "SweepRecord",
    "SweepResult",
    "SweepStatus",
    "SweepStore",
    "Told",
    "TrialSummary",
    "UnboundVariableError",
    "UnknownOptimizerError",
    "UnknownSweepError",
    "Variable",
    "VariableError",
    "make_optimizer",
]
