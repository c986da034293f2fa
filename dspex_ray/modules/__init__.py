"""Ready strategies: ways of asking a model, each a `Program` to subclass or to make around a signature or a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_ray.modules.best_of_n import (
        BestOfN,
    )
    from dspex_ray.modules.chain_of_thought import (
        ChainOfThought,
    )
    from dspex_ray.modules.critic import (
        Critic,
    )
    from dspex_ray.modules.ensemble import (
        Ensemble,
    )
    from dspex_ray.modules.many_inputs import (
        parallel_map,
    )
    from dspex_ray.modules.multi_chain_comparison import (
        MultiChainComparison,
    )
    from dspex_ray.modules.parallel import (
        Parallel,
    )
    from dspex_ray.modules.predict import (
        Predict,
    )
    from dspex_ray.modules.program_of_thought import (
        ProgramOfThought,
    )
    from dspex_ray.modules.react import (
        ReAct,
    )
    from dspex_ray.modules.refine import (
        Refine,
    )
    from dspex_ray.modules.retrieve import (
        Retrieve,
    )
    from dspex_ray.modules.samples import (
        Sample,
        SamplingLog,
        Vote,
        sampling,
    )
    from dspex_ray.modules.self_consistency import (
        SelfConsistency,
    )
    from dspex_ray.modules.signature import (
        Signature,
    )
    from dspex_ray.modules.strategy import (
        Strategy,
    )
    from dspex_ray.modules.trajectory import (
        Attempt,
        Trajectory,
        Turn,
        trajectories,
    )

_HOMES = {
    "Attempt": "dspex_ray.modules.trajectory",
    "BestOfN": "dspex_ray.modules.best_of_n",
    "ChainOfThought": "dspex_ray.modules.chain_of_thought",
    "Critic": "dspex_ray.modules.critic",
    "Ensemble": "dspex_ray.modules.ensemble",
    "MultiChainComparison": "dspex_ray.modules.multi_chain_comparison",
    "Parallel": "dspex_ray.modules.parallel",
    "Predict": "dspex_ray.modules.predict",
    "ProgramOfThought": "dspex_ray.modules.program_of_thought",
    "ReAct": "dspex_ray.modules.react",
    "Refine": "dspex_ray.modules.refine",
    "Retrieve": "dspex_ray.modules.retrieve",
    "Sample": "dspex_ray.modules.samples",
    "SamplingLog": "dspex_ray.modules.samples",
    "SelfConsistency": "dspex_ray.modules.self_consistency",
    "Signature": "dspex_ray.modules.signature",
    "Strategy": "dspex_ray.modules.strategy",
    "Trajectory": "dspex_ray.modules.trajectory",
    "Turn": "dspex_ray.modules.trajectory",
    "Vote": "dspex_ray.modules.samples",
    "parallel_map": "dspex_ray.modules.many_inputs",
    "sampling": "dspex_ray.modules.samples",
    "trajectories": "dspex_ray.modules.trajectory",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "Attempt",
    "BestOfN",
    "ChainOfThought",
    "Critic",
    "Ensemble",
    "MultiChainComparison",
    "Parallel",
    "Predict",
    "ProgramOfThought",
    "ReAct",
    "Refine",
    "Retrieve",
    "Sample",
    "SamplingLog",
    "SelfConsistency",
    "Signature",
    "Strategy",
    "Trajectory",
    "Turn",
    "Vote",
    "parallel_map",
    "sampling",
    "trajectories",
]
