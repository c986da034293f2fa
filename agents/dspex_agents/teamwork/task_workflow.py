"""A workflow as a list of tasks: each begins when those that it depends on are done, and may use what they gave."""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_agents.errors import MessageError, SpecError
from dspex_agents.roles.plan import Outcome, Work


class WorkflowFailedError(MessageError):
    """A task of a workflow failed; `task` says which. Tasks under way were finished, no further one was begun."""

    executed = True

    def __init__(self, workflow: str, task: str, reason: str) -> None:
        super().__init__(workflow, task, reason)
        self.workflow, self.task, self.reason = workflow, task, reason

    def __str__(self) -> str:
        return f"Workflow {self.workflow!r} failed in task {self.task!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its member is sent `payload`, or what `build` makes of the results of the tasks that it depends on.

    `build` gets them by id; it pickles, and must not block. A member needs all of `needs`; one attempt takes at most
    `timeout_s` seconds.
    """

    id: str
    payload: Any = None
    needs: frozenset[str] = frozenset()
    depends_on: tuple[str, ...] = ()
    build: Callable[[Mapping[str, Any]], Any] | None = None
    affinity: str | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise SpecError("A task needs an id that is not empty.")
        if self.build is not None and self.payload is not None:
            raise SpecError(f"task {self.id!r}: give it a payload or a build, not both.")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise SpecError(f"task {self.id!r}: timeout_s must be a number of seconds above 0, got {self.timeout_s!r}.")


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """What a workflow gave: the result of each task done and the agent that did it, by task."""

    workflow: str
    results: Mapping[str, Any]
    assigned: Mapping[str, str]
    cancelled: bool = False


class TaskWorkflow:
    """A `Plan` of tasks. Its result is a `WorkflowResult`; raises WorkflowFailedError when a task failed.

    A task lost to infrastructure is tried on other members first, as the coordinator's settings say. Nothing is
    journalled: asked for again, it begins anew.
    """

    def __init__(self, id: str, tasks: Sequence[Task]) -> None:  # noqa: A002 - the name that users know it by
        """Raise SpecError for no tasks, an id twice, an unknown dependency, and a circle (named)."""
        self.id, self.tasks = id, {task.id: task for task in tasks}
        self._order = _sorted(id, tasks)
        self._results: dict[str, Any] = {}
        self._assigned: dict[str, str] = {}
        self._ready: list[str] = []
        self._in_flight: set[str] = set()
        self._failure: WorkflowFailedError | None = None
        self._cancelled = False

    def open(self) -> None:
        """Find the tasks that depend on nothing."""
        self._ready += self._order.get_ready()

    def pull(self, limit: int, now: float) -> Sequence[Work]:  # noqa: ARG002 - nothing here waits for a time
        """Return tasks whose dependencies are done."""
        if self._is_stopped:
            return ()
        begun, self._ready = self._ready[:limit], self._ready[limit:]
        self._in_flight.update(begun)
        return [self._work(self.tasks[id_]) for id_ in begun]

    def push(self, outcomes: Sequence[Outcome], now: float) -> None:  # noqa: ARG002 - likewise
        """Take results in; what depended on them is ready. The first failure stops the workflow."""
        for outcome in outcomes:
            self._in_flight.discard(outcome.work_id)
            if outcome.error is not None:
                if not self._is_stopped:
                    error = outcome.error
                    reason = f"{error.type}: {error.message} (at {outcome.worker or 'no agent'})"
                    self._failure = WorkflowFailedError(self.id, outcome.work_id, reason)
                continue
            self._results[outcome.work_id] = outcome.value
            self._assigned[outcome.work_id] = outcome.worker
            self._order.done(outcome.work_id)
        self._ready += self._order.get_ready()

    def finished(self) -> bool:
        """Say whether every task is done, or it was stopped and nothing is under way."""
        return not self._in_flight and (self._is_stopped or len(self._results) == len(self.tasks))

    def result(self) -> WorkflowResult:
        """Return the results. Raises WorkflowFailedError when a task failed."""
        if self._failure is not None:
            raise self._failure
        cancelled = self._cancelled and len(self._results) < len(self.tasks)
        return WorkflowResult(self.id, dict(self._results), dict(self._assigned), cancelled)

    def results(self) -> Mapping[str, Any]:
        """Return the results so far, by task."""
        return dict(self._results)

    def progress(self) -> Mapping[str, Any]:
        """Return the steps done of all, those under way, and who did each."""
        done, total = len(self._results), len(self.tasks)
        return {
            "workflow": self.id,
            "step": done,
            "steps": total,
            "percent": 100.0 * done / total,
            "running": sorted(self._in_flight),
            "assigned": dict(self._assigned),
        }

    def cancel(self, reason: str) -> None:  # noqa: ARG002 - told in the run's status
        """Begin no further task."""
        self._cancelled = True

    def close(self) -> None:
        """Nothing is held."""

    @property
    def _is_stopped(self) -> bool:
        return self._cancelled or self._failure is not None

    def _work(self, task: Task) -> Work:
        if task.build is None:
            payload = task.payload
        else:
            payload = task.build({id_: self._results[id_] for id_ in task.depends_on})
        return Work(task.id, payload, affinity=task.affinity, needs=task.needs, timeout_s=task.timeout_s)


def _sorted(workflow: str, tasks: Sequence[Task]) -> graphlib.TopologicalSorter[str]:
    what = f"workflow {workflow!r}"
    if not tasks:
        raise SpecError(f"{what} has no tasks.")
    if twice := sorted(id_ for id_, count in Counter(task.id for task in tasks).items() if count > 1):
        raise SpecError(f"{what}: tasks occur twice: {', '.join(twice)}. Give each its own id.")
    known = {task.id for task in tasks}
    for task in tasks:
        if unknown := [id_ for id_ in task.depends_on if id_ not in known]:
            raise SpecError(f"{what}: task {task.id!r} depends on {', '.join(unknown)}, not among its tasks.")
    order = graphlib.TopologicalSorter({task.id: task.depends_on for task in tasks})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(error.args[1])
        raise SpecError(f"{what}: the tasks depend on each other in a circle: {circle}.") from None
    return order
