"""dspex_ray: typed, tunable programs over language models, optimised and served by supervised agents on Ray.

Write a `Program`, `optimize` it on data, run it `to_agent_system()`, `deploy` it over HTTP. Importing this package
loads neither ray nor litellm.
"""

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_coordination.conditions import (
        V,
        implies,
        total,
        where,
    )
    from dspex_coordination.objectives import (
        Bound,
        Objective,
    )
    from dspex_coordination.space import (
        Constraint,
        at_most_one,
        exactly_one,
    )
    from dspex_coordination.sweep import (
        CallsSpent,
        CostSpent,
        NoImprovement,
        RowsDone,
        ScoreReached,
        TimeSpent,
        TrialsDone,
        all_of,
        any_of,
    )
    from dspex_coordination.variables import (
        Bool,
        Choice,
        Composite,
        Demos,
        Float,
        Int,
        Module,
        Text,
    )
    from dspex_ray.agent_system import (
        AgentSystem,
        start_agent_system,
    )
    from dspex_ray.configuration import (
        configure,
    )
    from dspex_ray.data import (
        Dataset,
        load_data,
    )
    from dspex_ray.demos import (
        DemoPool,
    )
    from dspex_ray.errors import (
        ClusterError,
        ConfigurationError,
        DataError,
        DspexError,
        InputError,
        InterruptedRunError,
        LMError,
        NothingToTuneError,
        OutputError,
        ProgramError,
        UnknownNameError,
        UsageError,
    )
    from dspex_ray.evaluation import (
        Evaluation,
        aevaluate,
        evaluate,
    )
    from dspex_ray.example import (
        Example,
    )
    from dspex_ray.optimization import (
        optimize,
    )
    from dspex_ray.optimized import (
        Optimized,
    )
    from dspex_ray.program import (
        Program,
    )
    from dspex_ray.program_ref import (
        load_program,
        program_from_state,
    )
    from dspex_ray.schema import (
        Probability,
        Schema,
        field,
    )
    from dspex_ray.store import (
        Store,
        Version,
        open_store,
    )

__version__ = "0.1.0"

_HOMES = {
    "AgentSystem": "dspex_ray.agent_system",
    "Bool": "dspex_coordination.variables",
    "Bound": "dspex_coordination.objectives",
    "CallsSpent": "dspex_coordination.sweep",
    "Choice": "dspex_coordination.variables",
    "ClusterError": "dspex_ray.errors",
    "Composite": "dspex_coordination.variables",
    "ConfigurationError": "dspex_ray.errors",
    "Constraint": "dspex_coordination.space",
    "CostSpent": "dspex_coordination.sweep",
    "DataError": "dspex_ray.errors",
    "Dataset": "dspex_ray.data",
    "DemoPool": "dspex_ray.demos",
    "Demos": "dspex_coordination.variables",
    "DspexError": "dspex_ray.errors",
    "Evaluation": "dspex_ray.evaluation",
    "Example": "dspex_ray.example",
    "Float": "dspex_coordination.variables",
    "InputError": "dspex_ray.errors",
    "Int": "dspex_coordination.variables",
    "InterruptedRunError": "dspex_ray.errors",
    "LMError": "dspex_ray.errors",
    "Module": "dspex_coordination.variables",
    "NoImprovement": "dspex_coordination.sweep",
    "NothingToTuneError": "dspex_ray.errors",
    "Objective": "dspex_coordination.objectives",
    "Optimized": "dspex_ray.optimized",
    "OutputError": "dspex_ray.errors",
    "Probability": "dspex_ray.schema",
    "Program": "dspex_ray.program",
    "ProgramError": "dspex_ray.errors",
    "RowsDone": "dspex_coordination.sweep",
    "Schema": "dspex_ray.schema",
    "ScoreReached": "dspex_coordination.sweep",
    "Store": "dspex_ray.store",
    "Text": "dspex_coordination.variables",
    "TimeSpent": "dspex_coordination.sweep",
    "TrialsDone": "dspex_coordination.sweep",
    "UnknownNameError": "dspex_ray.errors",
    "UsageError": "dspex_ray.errors",
    "V": "dspex_coordination.conditions",
    "Version": "dspex_ray.store",
    "aevaluate": "dspex_ray.evaluation",
    "all_of": "dspex_coordination.sweep",
    "any_of": "dspex_coordination.sweep",
    "at_most_one": "dspex_coordination.space",
    "configure": "dspex_ray.configuration",
    "evaluate": "dspex_ray.evaluation",
    "exactly_one": "dspex_coordination.space",
    "field": "dspex_ray.schema",
    "implies": "dspex_coordination.conditions",
    "load_data": "dspex_ray.data",
    "load_program": "dspex_ray.program_ref",
    "open_store": "dspex_ray.store",
    "optimize": "dspex_ray.optimization",
    "program_from_state": "dspex_ray.program_ref",
    "start_agent_system": "dspex_ray.agent_system",
    "total": "dspex_coordination.conditions",
    "where": "dspex_coordination.conditions",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "AgentSystem",
    "Bool",
    "Bound",
    "CallsSpent",
    "Choice",
    "ClusterError",
    "Composite",
    "ConfigurationError",
    "Constraint",
    "CostSpent",
    "DataError",
    "Dataset",
    "DemoPool",
    "Demos",
    "DspexError",
    "Evaluation",
    "Example",
    "Float",
    "InputError",
    "Int",
    "InterruptedRunError",
    "LMError",
    "Module",
    "NoImprovement",
    "NothingToTuneError",
    "Objective",
    "Optimized",
    "OutputError",
    "Probability",
    "Program",
    "ProgramError",
    "RowsDone",
    "Schema",
    "ScoreReached",
    "Store",
    "Text",
    "TimeSpent",
    "TrialsDone",
    "UnknownNameError",
    "UsageError",
    "V",
    "Version",
    "aevaluate",
    "all_of",
    "any_of",
    "at_most_one",
    "configure",
    "evaluate",
    "exactly_one",
    "field",
    "implies",
    "load_data",
    "load_program",
    "open_store",
    "optimize",
    "program_from_state",
    "start_agent_system",
    "total",
    "where",
]
