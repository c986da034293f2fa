"""How an agent tells the registry what kind it is, tried again while the root is away."""

from __future__ import annotations

import importlib.metadata
import os
import random
from collections.abc import Mapping
from typing import Any

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError, SpecError
from dspex_agents.roles.resilience import Sleep
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError
from dspex_agents.services.retry_policy import RetryPolicy


class RegistrationError(AgentSystemError):
    """An agent that could not register; `attempts` were made, the last one ended with `reason`. It does not start."""

    def __init__(self, agent: str, attempts: int, reason: str) -> None:
        super().__init__(agent, attempts, reason)
        self.agent, self.attempts, self.reason = agent, attempts, reason

    def __str__(self) -> str:
        return f"Agent {self.agent!r} could not register, {self.attempts} attempt(s): {self.reason}"


def framework_version() -> str:
    """Return the version of the installed distribution, "unknown" where it is only a folder on the path."""
    try:
        return importlib.metadata.version("dspex-ray")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def own_metadata(context: AgentContext, agent_type: str) -> dict[str, Any]:
    """Return what every agent says of itself: its kind, framework version, start (seconds since the epoch), process."""
    return {
        "agent_type": agent_type,
        "framework_version": framework_version(),
        "started_at": context.clock.now(),
        "pid": os.getpid(),
    }


async def register(
    context: AgentContext, metadata: Mapping[str, Any], retry: RetryPolicy, rng: random.Random, sleep: Sleep
) -> None:
    """Merge the metadata into the agent's registration. Raises RegistrationError when the retries are used up.

    Registrations that can never be right (SpecError) are not tried again.
    """
    began = context.clock.monotonic()
    attempts = 0
    while True:
        attempts += 1
        try:
            await context.update(metadata=metadata)
        except (AgentSystemError, PortDiedError, PortUnavailableError, TimeoutError) as error:
            delay_s = retry.next_delay_s(attempts, context.clock.monotonic() - began, rng)
            if delay_s is None or isinstance(error, SpecError):
                raise RegistrationError(context.name, attempts, f"{type(error).__name__}: {error}") from error
            await sleep(delay_s)
        else:
            return
