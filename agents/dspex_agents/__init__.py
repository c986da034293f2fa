"""Supervised actors on Ray: specifications, supervisors, mailboxes, light agents in host processes.

Knows no program, no prompt and no optimizer. `import dspex_agents` does not import ray; the Ray runtime is
`dspex_agents.ray_runtime`, the in-process one `dspex_agents.local_runtime`.
"""

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_agents.agent import Agent, AgentContext, AgentExit, AgentStatus, TreeNode
    from dspex_agents.child_spec import Backoff, ChildSpec, SupervisorSpec
    from dspex_agents.clock import Clock, ManualClock, SystemClock
    from dspex_agents.coordinator_agent import CancelPlan, CoordinatorAgent, GetProgress, RunPlan
    from dspex_agents.database import Database, Migration
    from dspex_agents.errors import (
        AgentFailedError,
        AgentStoppedError,
        AgentSystemError,
        DeadlineExceededError,
        MailboxFullError,
        MessageError,
        OutcomeUnknownError,
        RuntimeUnavailableError,
        SettingsError,
        SpecError,
        StoreError,
        SystemStoppedError,
        UnknownAgentError,
    )
    from dspex_agents.health import Alert, Health, Thresholds
    from dspex_agents.ids import CountingIds, IdSource, RandomIds
    from dspex_agents.local_runtime import start_local_system
    from dspex_agents.message import Priority
    from dspex_agents.monitor_agent import AcknowledgeAlert, GetAlerts, GetHealth, MonitorAgent, OpenAlert
    from dspex_agents.plan import Failure, Outcome, Plan, Work
    from dspex_agents.root import SystemSpec
    from dspex_agents.settings import Settings
    from dspex_agents.system import System
    from dspex_agents.task_agent import TaskAgent, Worker

_HOMES = {
    "AcknowledgeAlert": "dspex_agents.monitor_agent",
    "Agent": "dspex_agents.agent",
    "AgentContext": "dspex_agents.agent",
    "AgentExit": "dspex_agents.agent",
    "AgentFailedError": "dspex_agents.errors",
    "AgentStatus": "dspex_agents.agent",
    "AgentStoppedError": "dspex_agents.errors",
    "AgentSystemError": "dspex_agents.errors",
    "Alert": "dspex_agents.health",
    "Backoff": "dspex_agents.child_spec",
    "CancelPlan": "dspex_agents.coordinator_agent",
    "ChildSpec": "dspex_agents.child_spec",
    "Clock": "dspex_agents.clock",
    "CoordinatorAgent": "dspex_agents.coordinator_agent",
    "CountingIds": "dspex_agents.ids",
    "Database": "dspex_agents.database",
    "DeadlineExceededError": "dspex_agents.errors",
    "Failure": "dspex_agents.plan",
    "GetAlerts": "dspex_agents.monitor_agent",
    "GetHealth": "dspex_agents.monitor_agent",
    "GetProgress": "dspex_agents.coordinator_agent",
    "Health": "dspex_agents.health",
    "IdSource": "dspex_agents.ids",
    "MailboxFullError": "dspex_agents.errors",
    "ManualClock": "dspex_agents.clock",
    "MessageError": "dspex_agents.errors",
    "Migration": "dspex_agents.database",
    "MonitorAgent": "dspex_agents.monitor_agent",
    "OpenAlert": "dspex_agents.monitor_agent",
    "Outcome": "dspex_agents.plan",
    "OutcomeUnknownError": "dspex_agents.errors",
    "Plan": "dspex_agents.plan",
    "Priority": "dspex_agents.message",
    "RandomIds": "dspex_agents.ids",
    "RunPlan": "dspex_agents.coordinator_agent",
    "RuntimeUnavailableError": "dspex_agents.errors",
    "Settings": "dspex_agents.settings",
    "SettingsError": "dspex_agents.errors",
    "SpecError": "dspex_agents.errors",
    "StoreError": "dspex_agents.errors",
    "SupervisorSpec": "dspex_agents.child_spec",
    "System": "dspex_agents.system",
    "SystemClock": "dspex_agents.clock",
    "SystemSpec": "dspex_agents.root",
    "SystemStoppedError": "dspex_agents.errors",
    "TaskAgent": "dspex_agents.task_agent",
    "Thresholds": "dspex_agents.health",
    "TreeNode": "dspex_agents.agent",
    "UnknownAgentError": "dspex_agents.errors",
    "Work": "dspex_agents.plan",
    "Worker": "dspex_agents.task_agent",
    "start_local_system": "dspex_agents.local_runtime",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)

__all__ = [
    "AcknowledgeAlert",
    "Agent",
    "AgentContext",
    "AgentExit",
    "AgentFailedError",
    "AgentStatus",
    "AgentStoppedError",
    "AgentSystemError",
    "Alert",
    "Backoff",
    "CancelPlan",
    "ChildSpec",
    "Clock",
    "CoordinatorAgent",
    "CountingIds",
    "Database",
    "DeadlineExceededError",
    "Failure",
    "GetAlerts",
    "GetHealth",
    "GetProgress",
    "Health",
    "IdSource",
    "MailboxFullError",
    "ManualClock",
    "MessageError",
    "Migration",
    "MonitorAgent",
    "OpenAlert",
    "Outcome",
    "OutcomeUnknownError",
    "Plan",
    "Priority",
    "RandomIds",
    "RunPlan",
    "RuntimeUnavailableError",
    "Settings",
    "SettingsError",
    "SpecError",
    "StoreError",
    "SupervisorSpec",
    "System",
    "SystemClock",
    "SystemSpec",
    "SystemStoppedError",
    "TaskAgent",
    "Thresholds",
    "TreeNode",
    "UnknownAgentError",
    "Work",
    "Worker",
    "start_local_system",
]
