"""What is known of one agent so that others may look it up, and which changes of it are good."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from dspex_agents.errors import SpecError

Health = Literal["healthy", "degraded", "unhealthy"]
HEALTHS: Final[tuple[Health, ...]] = get_args(Health)
"""Best first."""
_MOST_METADATA = 100


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

    def changed(self, changes: Mapping[str, Any]) -> Registration:
        """Return a copy with the agent's changes, as `checked_changes` gave them; `metadata` is merged in.

        Metadata whose new value is None is removed. Nothing else of an agent can be removed.
        """
        metadata = self.metadata
        if new := changes.get("metadata"):
            metadata = {key: value for key, value in {**metadata, **new}.items() if value is not None}
        return Registration(
            self.name,
            self.epoch,
            changes.get("capabilities", self.capabilities),
            changes.get("health", self.health),
            self.node,
            self.host,
            self.load,
            changes.get("resources", self.resources),
            metadata,
            self.partition,
        )

    def loaded(self, load: float) -> Registration:
        """Return a copy with another load (half the time of `dataclasses.replace`, and this is done all the time)."""
        r = self
        return Registration(
            r.name, r.epoch, r.capabilities, r.health, r.node, r.host, load, r.resources, r.metadata, r.partition
        )


def check_registration(registration: Registration) -> None:
    """Raise SpecError naming every bad field."""
    problems = [
        f"{name} must be text, got {value!r}"
        for name in ("name", "node", "host", "partition")
        if not isinstance(value := getattr(registration, name), str)
    ]
    if registration.name == "":
        problems.append("name must not be empty")
    if not is_amount(registration.load):
        problems.append(f"load must be a finite number, at least 0, got {registration.load!r}")
    for name, rule in _CHANGEABLE.items():
        problems += rule(getattr(registration, name))
    _raise_if(problems, registration.name)


def checked_changes(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of an agent's changes, ready for `Registration.changed`. Raises SpecError naming all bad fields."""
    problems: list[str] = []
    for field_name, value in changes.items():
        rule = _CHANGEABLE.get(field_name)
        if rule is None:
            problems.append(f"{field_name!r} cannot be changed, only {', '.join(_CHANGEABLE)}")
        else:
            problems += rule(value)
    _raise_if(problems, name)
    return {field_name: _COPY[field_name](value) for field_name, value in changes.items()}


def check_metadata(name: str, metadata: Mapping[str, Any]) -> None:
    """Raise SpecError when an agent would have more than 100 pieces of metadata."""
    if len(metadata) > _MOST_METADATA:
        text = f"at most {_MOST_METADATA} pieces of metadata, it would have {len(metadata)}; remove some with None"
        _raise_if([text], name)


def is_amount(value: object) -> bool:
    """Say whether this is a finite number, at least 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _raise_if(problems: list[str], name: object) -> None:
    if problems:
        raise SpecError(f"registration of {name!r}: {'; '.join(problems)}.")


def _capability_problems(value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Collection):
        return [f"capabilities must be a set of texts, got {value!r}"]
    return [f"a capability must be text, got {item!r}" for item in value if not (isinstance(item, str) and item)]


def _health_problems(value: object) -> list[str]:
    return [] if value in HEALTHS else [f"health must be one of {', '.join(map(repr, HEALTHS))}, got {value!r}"]


def _resource_problems(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"resources must map names to amounts, got {value!r}"]
    problems = _key_problems("resources", value)
    for key, amount in value.items():
        if not is_amount(amount):
            problems.append(f"resource {key!r} must be a finite number, at least 0, got {amount!r}")
    return problems


def _metadata_problems(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [f"metadata must map names to values, got {value!r}"]
    return _key_problems("metadata", value)


def _key_problems(what: str, value: Mapping[Any, Any]) -> list[str]:
    return [f"a name in {what} must be text, got {key!r}" for key in value if not (isinstance(key, str) and key)]


_CHANGEABLE: Final[Mapping[str, Callable[[object], list[str]]]] = {
    "health": _health_problems,
    "capabilities": _capability_problems,
    "resources": _resource_problems,
    "metadata": _metadata_problems,
}
_COPY: Final[Mapping[str, Callable[[Any], Any]]] = {
    "health": str,
    "capabilities": frozenset,
    "resources": dict,
    "metadata": dict,
}
