"""The schema of an agent's state: a pydantic model, and what is wrong with values that do not fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dspex_agents.actions.action import FieldProblem
from dspex_agents.errors import AgentSystemError, SpecError

StateT = TypeVar("StateT", bound=BaseModel)


class NoState(BaseModel):
    """The state of agents that keep none."""

    model_config = ConfigDict(extra="forbid")


class StateError(AgentSystemError):
    """A state that breaks its schema; `problems` are all of them, by path. Values are not told. The old state stays."""

    def __init__(self, schema: str, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__(schema, problems)
        self.schema, self.problems = schema, problems

    def __str__(self) -> str:
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in self.problems)
        return f"State {self.schema!r} has {len(self.problems)} bad field(s), the state before stays: {told}."


def check_state_model(owner: str, model: object) -> None:
    """Raise SpecError unless this is a pydantic model all of whose fields have defaults."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise SpecError(f"{owner}: State must be a pydantic model class, got {model!r}.")
    if required := [name for name, field in model.model_fields.items() if field.is_required()]:
        raise SpecError(f"{owner}: every field of State needs a default, these have none: {', '.join(required)}.")


def checked_state(model: type[StateT], fields: Mapping[str, Any]) -> StateT:
    """Return the state of these fields, by name, and defaults for those that are missing. Raises StateError."""
    unknown = _unknown(model, fields)
    try:
        state = model.model_validate(dict(fields), by_alias=False, by_name=True)
    except ValidationError as error:
        problems = field_problems(error)
    else:
        if not unknown:
            return state
        problems = ()
    known = {problem.path for problem in problems}
    raise StateError(model.__name__, (*problems, *(p for p in unknown if p.path not in known)))


def field_problems(error: ValidationError) -> tuple[FieldProblem, ...]:
    """Return pydantic's errors with their paths, without the values."""
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(FieldProblem(".".join(map(str, e["loc"])) or "(all)", e["msg"], e["type"]) for e in listed)


def plain(value: Any) -> Any:
    """Return models and mappings as dicts, lists as lists, all of them new; every other value as it is."""
    match value:
        case BaseModel():
            return {name: plain(item) for name, item in value}
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


def _unknown(model: type[BaseModel], fields: Mapping[str, Any]) -> list[FieldProblem]:
    if model.model_config.get("extra") == "allow":
        return []
    names = sorted(name for name in fields if name not in model.model_fields)
    there_are = ", ".join(model.model_fields) or "none"
    return [FieldProblem(name, f"there is no such field; there are: {there_are}", "unknown_field") for name in names]
