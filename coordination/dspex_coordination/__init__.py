"""Search and teamwork: variable spaces, optimizers and sweeps that survive a crash.

This floor knows no program and no prompt. It asks an optimizer for candidates, hands work to agents, and journals
what comes back.
"""

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
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

_HOMES = {
    "Ask": "dspex_coordination.optimizers",
    "Bool": "dspex_coordination.variables",
    "BootstrapDemos": "dspex_coordination.optimizers",
    "Candidate": "dspex_coordination.candidate",
    "Choice": "dspex_coordination.variables",
    "CoordinationError": "dspex_coordination.errors",
    "Demos": "dspex_coordination.variables",
    "EvaluateRows": "dspex_coordination.sweep",
    "Float": "dspex_coordination.variables",
    "Int": "dspex_coordination.variables",
    "JournalError": "dspex_coordination.errors",
    "OPTIMIZERS": "dspex_coordination.optimizers",
    "Optimizer": "dspex_coordination.optimizers",
    "OptimizerError": "dspex_coordination.errors",
    "RandomSearch": "dspex_coordination.optimizers",
    "ResumeError": "dspex_coordination.errors",
    "RowResult": "dspex_coordination.sweep",
    "RowsEvaluated": "dspex_coordination.sweep",
    "SWEEP_MIGRATIONS": "dspex_coordination.sweep",
    "SearchContext": "dspex_coordination.optimizers",
    "Space": "dspex_coordination.space",
    "SpaceError": "dspex_coordination.errors",
    "Split": "dspex_coordination.optimizers",
    "Sweep": "dspex_coordination.sweep",
    "SweepError": "dspex_coordination.errors",
    "SweepRecord": "dspex_coordination.sweep",
    "SweepResult": "dspex_coordination.sweep",
    "SweepStatus": "dspex_coordination.sweep",
    "SweepStore": "dspex_coordination.sweep",
    "Told": "dspex_coordination.optimizers",
    "TrialSummary": "dspex_coordination.sweep",
    "UnboundVariableError": "dspex_coordination.errors",
    "UnknownOptimizerError": "dspex_coordination.errors",
    "UnknownSweepError": "dspex_coordination.errors",
    "Variable": "dspex_coordination.variables",
    "VariableError": "dspex_coordination.errors",
    "make_optimizer": "dspex_coordination.optimizers",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

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
