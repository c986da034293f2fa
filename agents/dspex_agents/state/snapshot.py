"""A snapshot: the named fields of a state as JSON, and the way there and back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError

from dspex_agents.errors import AgentSystemError, SpecError
from dspex_agents.state.state_schema import StateError, StateT, checked_state, field_problems, plain


class SnapshotError(AgentSystemError):
    """A state that cannot be stored, or a stored one that cannot be taken; the message names the fields."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store has of one agent. `revision` counts its saves; `saved_at` is in seconds since the epoch.

    `epoch` is the incarnation that claimed it last. `fields` are JSON values.
    """

    agent: str
    epoch: int
    revision: int
    saved_at: float
    fields: Mapping[str, Any] = field(default_factory=dict)


class FencedError(AgentSystemError):
    """A late incarnation tried to claim or write a state that a later one has claimed; nothing was written."""

    def __init__(self, agent: str, epoch: int, stored_epoch: int) -> None:
        super().__init__(agent, epoch, stored_epoch)
        self.agent, self.epoch, self.stored_epoch = agent, epoch, stored_epoch

    def __str__(self) -> str:
        return (
            f"Agent {self.agent!r} of epoch {self.epoch} is fenced off: epoch {self.stored_epoch} has claimed its "
            f"state. If that one can never come back because a clock was set back, SnapshotStore.unfence lets it in."
        )


def check_persistent_fields(owner: str, model: type[BaseModel], names: Collection[str]) -> None:
    """Raise SpecError naming the fields that the schema does not have, or that cannot be written as JSON."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{owner}: persistent_fields must be a set of names, got {names!r}.")
    if unknown := sorted(set(names) - set(model.model_fields)):
        there_are = ", ".join(model.model_fields) or "none"
        raise SpecError(
            f"{owner}: persistent_fields names {', '.join(unknown)}, which State does not have. It has: {there_are}."
        )
    if problems := [problem for name in sorted(names) if (problem := _json_problem(model, name))]:
        raise SpecError(f"{owner}: persistent_fields cannot be stored as JSON: {'; '.join(problems)}.")


def fields_of(state: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    """Return these fields as JSON values. Raises SnapshotError."""
    try:
        return state.model_dump(mode="json", include=set(names), by_alias=False, round_trip=True)
    except (PydanticSerializationError, ValueError) as error:
        raise SnapshotError(f"State {type(state).__name__!r} cannot be stored as JSON: {error}.") from error


def json_text(fields: Mapping[str, Any]) -> str:
    """Return the fields as JSON, equal ones always as the same text. Raises SnapshotError naming a bad field."""
    parts = []
    for name in sorted(fields):
        try:
            value = json.dumps(fields[name], sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise SnapshotError(f"Field {name!r} cannot be stored as JSON: {error}.") from error
        parts.append(f"{json.dumps(name)}:{value}")
    return f"{{{','.join(parts)}}}"


def merged(state: StateT, fields: Mapping[str, Any], names: Collection[str]) -> StateT:
    """Return the state with stored fields laid over it.

    Raises SnapshotError for a field that is not among the persistent `names`, and for values that break the schema.
    """
    model = type(state)
    if unknown := sorted(set(fields) - set(names)):
        raise SnapshotError(
            f"The snapshot has fields that {model.__name__!r} does not keep: {', '.join(unknown)}. "
            f"Rename or remove them in on_after_load."
        )
    try:
        stored = model.model_validate_json(json_text(fields), by_alias=False, by_name=True)
        return checked_state(model, {**plain(state), **{name: getattr(stored, name) for name in fields}})
    except ValidationError as error:
        problems = field_problems(error)
    except StateError as error:
        problems = error.problems
    told = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
    raise SnapshotError(f"The snapshot does not fit {model.__name__!r}: {told}. Migrate it in on_after_load.")


def _json_problem(model: type[BaseModel], name: str) -> str:
    described = model.model_fields[name]
    if described.exclude:
        return f"{name} is excluded from the model's dumps"
    try:
        TypeAdapter[Any](described.rebuild_annotation()).json_schema(mode="serialization")
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError) as error:
        return f"{name} ({error.message.splitlines()[0]})"
    return ""
