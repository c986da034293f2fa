"""`Action`: one named piece of work with checked input and output, a timeout, and a way to undo it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dspex_agents.agent import AgentExit
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import AgentSystemError, SpecError

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what language models' tool interfaces accept
_LAST_WORDS_S = 1.0
InputT = TypeVar("InputT", bound=BaseModel)
OutputT = TypeVar("OutputT", bound=BaseModel)
NO_CONTEXT: Mapping[str, Any] = {}


class Action(Generic[InputT, OutputT]):
    """Base class of actions; instances keep no state of a run, so one may run many times at once.

    A subclass names its pydantic models, `class Charge(Action[Bill, Receipt])` or as `Input` and `Output`, and
    overrides `run`. `name` is the class's name and `description` its docstring unless given. Raises SpecError, when
    the class is made, for one that cannot work.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    timeout_s: ClassVar[float] = 30.0
    Input: type[InputT]
    Output: type[OutputT]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Action:
                for role, model in zip(("Input", "Output"), get_args(base), strict=True):
                    if role not in cls.__dict__ and isinstance(model, type):
                        setattr(cls, role, model)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if "description" not in cls.__dict__:
            cls.description = " ".join((cls.__doc__ or "").split())
        if not _NAME.fullmatch(cls.name):
            raise SpecError(
                f"action {cls.__name__}: name must be 1 to 64 letters, digits, '-' or '_', got {cls.name!r}."
            )
        if not cls.timeout_s > 0:
            raise SpecError(f"action {cls.name!r}: timeout_s must be above 0, got {cls.timeout_s!r}.")
        for role in ("Input", "Output"):
            model = getattr(cls, role, None)
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                raise SpecError(f"action {cls.name!r}: {role} must be a pydantic model class, got {model!r}.")

    async def run(self, params: InputT, context: Mapping[str, Any]) -> OutputT | Mapping[str, Any]:
        """Do the work and return the output, or a mapping of its fields. Must not block the event loop."""
        raise NotImplementedError

    async def compensate(self, params: InputT, context: Mapping[str, Any], error: Exception) -> Any:
        """Undo what `run` may have done; called once after it failed, timed out or gave a bad output.

        Called too when a later step of its chain failed. It is bounded by `timeout_s` of its own.
        """
        raise NotImplementedError

    @classmethod
    def can_compensate(cls) -> bool:
        """Return whether the action overrides `compensate`."""
        return cls.compensate is not Action.compensate


AnyAction = Action[Any, Any]


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field: its path from the top (`items.0.price`), why, and pydantic's kind of error."""

    path: str
    message: str
    kind: str


@dataclass(frozen=True, slots=True)
class Compensation:
    """How undoing went: there was nothing to call, it is done (with this result), or it failed as well."""

    state: Literal["none", "done", "failed"] = "none"
    result: Any = None
    error: str = ""

    def __str__(self) -> str:
        return {"none": "nothing to undo", "done": "undone", "failed": f"undoing it failed: {self.error}"}[self.state]


class ActionError(AgentSystemError):
    """An action that gave no output; `action` is its name. Names of fields are told, never their values."""

    def __init__(self, action: str, problem: str) -> None:
        super().__init__(action, problem)
        self.action, self.problem = action, problem

    def __str__(self) -> str:
        return f"Action {self.action!r} {self.problem}"


class ActionInputError(ActionError):
    """The parameters do not fit the action's input; `problems` are all of them. Nothing ran."""

    problems: tuple[FieldProblem, ...] = ()


class ActionFailedError(ActionError):
    """The action ran and failed; `error_type` and `error_text` are of what it raised, `compensation` of undoing it."""

    error_type: str = ""
    error_text: str = ""
    compensation: Compensation = Compensation()

    def __str__(self) -> str:
        told = "" if self.compensation.state == "none" else f" Compensation: {self.compensation}."
        return f"{super().__str__()}{told}"


class ActionOutputError(ActionFailedError):
    """The action ran, but its output does not fit its model; `problems` are all of them."""

    problems: tuple[FieldProblem, ...] = ()


class ActionTimeoutError(ActionFailedError):
    """The action was not done in time. `fields` are its parameters' names.

    `ended` is False when it ignored its cancellation too, and may still run.
    """

    timeout_s: float = 0.0
    elapsed_s: float = 0.0
    fields: tuple[str, ...] = ()
    ended: bool = True


async def run_action(
    action: Action[InputT, OutputT],
    params: InputT | Mapping[str, Any],
    *,
    context: Mapping[str, Any] = NO_CONTEXT,
    timeout_s: float | None = None,
    clock: Clock | None = None,
) -> OutputT:
    """Check the parameters, run the action, check and return its output.

    `context` is passed on (shared clients, who asks); `timeout_s` stands in for the action's own. Raises
    ActionInputError before anything ran, else ActionFailedError or its ActionTimeoutError or ActionOutputError, after
    compensation where the action has one. A cancelled run is not compensated: its caller decides.
    """
    given = _checked_input(action, params)
    bound_s = action.timeout_s if timeout_s is None else timeout_s
    try:
        raw = await _run(action, given, context, bound_s, clock or SystemClock())
        return _checked_output(action, raw)
    except ActionFailedError as error:
        error.compensation = await undo(action, given, context, error)
        raise


async def undo(action: AnyAction, params: BaseModel, context: Mapping[str, Any], error: Exception) -> Compensation:
    """Call the action's `compensate`, if it has one, and tell how that went; raises nothing of its own."""
    if not action.can_compensate():
        return Compensation()
    task, in_time = await _bounded(action.compensate(params, context, error), action.timeout_s)
    if not in_time:
        return Compensation("failed", error=f"not done within {action.timeout_s:g} s")
    if (failure := _failure(task)) is not None:
        return Compensation("failed", error=f"{type(failure).__name__}: {failure}")
    return Compensation("done", task.result())


def tool_definition(action: AnyAction) -> dict[str, Any]:
    """Return the action as a function that a language model may call, in OpenAI's format for tools."""
    parameters = action.Input.model_json_schema()
    parameters.pop("title", None)
    function = {"name": action.name, "description": action.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _checked_input(action: Action[InputT, OutputT], params: InputT | Mapping[str, Any]) -> InputT:
    try:
        return action.Input.model_validate(params)
    except ValidationError as invalid:
        found = _problems(invalid)
        error = ActionInputError(action.name, f"was given {_listed('parameter', found)}")
        error.problems = found
    raise error  # outside `except`: pydantic's own text would show the values


def _checked_output(action: Action[InputT, OutputT], raw: Any) -> OutputT:
    try:
        return action.Output.model_validate(raw)
    except ValidationError as invalid:
        found = _problems(invalid)
        error = ActionOutputError(action.name, f"gave {_listed('output field', found)}")
        error.problems, error.error_type, error.error_text = found, "ValidationError", error.problem
    raise error


async def _run(
    action: Action[InputT, OutputT], params: InputT, context: Mapping[str, Any], timeout_s: float, clock: Clock
) -> Any:
    started = clock.monotonic()
    task, in_time = await _bounded(action.run(params, context), timeout_s)
    if not in_time:
        raise _overdue(action.name, params, timeout_s, clock.monotonic() - started, task.done())
    if (cause := _failure(task)) is None:
        return task.result()
    if isinstance(cause, AgentExit):
        raise cause  # the end of the agent it runs in, not of the action alone
    kind, text = type(cause).__name__, str(cause)
    failed = ActionFailedError(action.name, f"failed: {kind}: {text}")
    failed.error_type, failed.error_text = kind, text
    raise failed from cause


def _overdue(action: str, params: BaseModel, timeout_s: float, elapsed_s: float, ended: bool) -> ActionTimeoutError:  # noqa: FBT001 - a figure among figures
    fields = tuple(type(params).model_fields)
    left = "" if ended else " It ignored its cancellation and may still run."
    names = ", ".join(fields) or "none"
    error = ActionTimeoutError(
        action, f"was not done within {timeout_s:g} s (stopped after {elapsed_s:.3f} s; parameters: {names}).{left}"
    )
    error.error_type, error.error_text = "TimeoutError", f"not done within {timeout_s:g} s"
    error.timeout_s, error.elapsed_s, error.fields, error.ended = timeout_s, elapsed_s, fields, ended
    return error


async def _bounded(work: Coroutine[Any, Any, Any], timeout_s: float) -> tuple[asyncio.Task[Any], bool]:
    """Run the work for at most `timeout_s` seconds, then cancel it; return its task and whether it was in time."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait((task,), timeout=timeout_s)
        in_time = task.done()
        if not in_time:
            task.cancel()
            await asyncio.wait((task,), timeout=_LAST_WORDS_S)
    finally:
        task.cancel()
        task.add_done_callback(_heard)
    return task, in_time


def _heard(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # told by whoever waited, or too late to be told


def _failure(task: asyncio.Task[Any]) -> BaseException | None:
    return asyncio.CancelledError("it cancelled itself") if task.cancelled() else task.exception()


def _problems(error: ValidationError) -> tuple[FieldProblem, ...]:
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(FieldProblem(".".join(map(str, e["loc"])) or "(all)", e["msg"], e["type"]) for e in listed)


def _listed(what: str, problems: tuple[FieldProblem, ...]) -> str:
    told = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
    return f"{len(problems)} bad {what}{'s' if len(problems) > 1 else ''}: {told}."
