"""Values that agents share: versioned, observed, changed by a leader, a vote, a consensus or an average."""

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_coordination.shared_variables.ballot_box import BallotBox, Decision
    from dspex_coordination.shared_variables.messages import (
        Ballot,
        Change,
        GetHistory,
        HandOver,
        Join,
        Leave,
        Observe,
        Proposal,
        Propose,
        ReadValue,
        Unobserve,
        ValueChanged,
        Versioned,
    )
    from dspex_coordination.shared_variables.observes import Observes, TunedTaskAgent, TunedWorker
    from dspex_coordination.shared_variables.policy import Assembly, Average, Consensus, Leader, Policy, Vote
    from dspex_coordination.shared_variables.refusals import (
        NotLeaderError,
        ProposalRefusedError,
        SharedVariableError,
        StaleVersionError,
        UnknownVersionError,
    )
    from dspex_coordination.shared_variables.shared_variable import SharedVariable
    from dspex_coordination.shared_variables.value_book import SharedState, ValueBook

_MODULES = {
    "ballot_box": ("BallotBox", "Decision"),
    "messages": (
        "Ballot",
        "Change",
        "GetHistory",
        "HandOver",
        "Join",
        "Leave",
        "Observe",
        "Proposal",
        "Propose",
        "ReadValue",
        "Unobserve",
        "ValueChanged",
        "Versioned",
    ),
    "observes": ("Observes", "TunedTaskAgent", "TunedWorker"),
    "policy": ("Assembly", "Average", "Consensus", "Leader", "Policy", "Vote"),
    "refusals": (
        "NotLeaderError",
        "ProposalRefusedError",
        "SharedVariableError",
        "StaleVersionError",
        "UnknownVersionError",
    ),
    "shared_variable": ("SharedVariable",),
    "value_book": ("SharedState", "ValueBook"),
}

__getattr__, __dir__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)

__all__ = [
    "Assembly",
    "Average",
    "Ballot",
    "BallotBox",
    "Change",
    "Consensus",
    "Decision",
    "GetHistory",
    "HandOver",
    "Join",
    "Leader",
    "Leave",
    "NotLeaderError",
    "Observe",
    "Observes",
    "Policy",
    "Proposal",
    "ProposalRefusedError",
    "Propose",
    "ReadValue",
    "SharedState",
    "SharedVariable",
    "SharedVariableError",
    "StaleVersionError",
    "TunedTaskAgent",
    "TunedWorker",
    "UnknownVersionError",
    "Unobserve",
    "ValueBook",
    "ValueChanged",
    "Versioned",
    "Vote",
]
