"""Supervised actors on Ray: specifications, supervisors, mailboxes, light agents in host processes.

Knows no program, no prompt and no optimizer. `import dspex_agents` does not import ray; the Ray runtime is
`dspex_agents.ray_runtime`, the in-process one `dspex_agents.local_runtime`.
"""

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
