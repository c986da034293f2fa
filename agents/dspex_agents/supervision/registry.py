"""Who is in a system and what each can do: registrations, indexed by capability, health and node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Health = Literal["healthy", "degraded", "unhealthy"]
Operator = Literal["eq", "neq", "gt", "lt", "gte", "lte", "in", "not_in"]


@dataclass(frozen=True, slots=True)
class Registration:
    """One agent as others may look it up. `load` is messages in hand and waiting, for each that it may have in hand.

    `resources` is what it has to offer (any unit; `memory` in bytes); `partition` is the tenant it belongs to.
    """

    name: str
    epoch: int = 0
    capabilities: frozenset[str] = frozenset()
    health: Health = "healthy"
    node: str = ""
    host: str = ""
    load: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Criterion:
    """A condition on one value of a registration: a dotted `path` such as `metadata.model` or `load`."""

    path: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which agents are meant: those that have **all** that is given, least loaded first, at most `limit`."""

    capabilities: frozenset[str] = frozenset()
    health: Health | None = None
    node: str | None = None
    partition: str | None = None
    min_resources: Mapping[str, float] = field(default_factory=dict)
    where: tuple[Criterion, ...] = ()
    limit: int | None = None
