"""A program as a supervised tree of agents: task agents, a coordinator, a monitor, the ledger, the models' limits."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, get_args

from dspex_agents import (
    AgentFailedError,
    AgentStoppedError,
    AgentSystemError,
    ChildSpec,
    Clock,
    CoordinatorAgent,
    GetHealth,
    Health,
    IdSource,
    MailboxFullError,
    MessageError,
    MonitorAgent,
    OutcomeUnknownError,
    RandomIds,
    SnapshotStore,
    SupervisorSpec,
    System,
    SystemClock,
    SystemSpec,
    TaskAgent,
    TreeNode,
    start_local_system,
)
from dspex_agents.errors import RuntimeUnavailableError
from dspex_coordination.canonical import canonical_json
from dspex_coordination.shared_variables import Leader, Propose, SharedVariable, TunedTaskAgent, Versioned
from dspex_coordination.variables import Int
from dspex_ray.calls.ledger_agent import LEDGER, GetTotals, GetVersion, LedgerAgent
from dspex_ray.errors import ClusterError, DspexError, UsageError
from dspex_ray.lm.limits.lender import MODEL_LIMITS
from dspex_ray.lm.limits.limits_agent import ModelLimitsAgent
from dspex_ray.parcel import Parcel
from dspex_ray.program_worker import AS_STARTED, Bench, Predict, Predicted, ProgramWorker
from dspex_ray.programs.program import Program
from dspex_ray.store import CallTotals, Store, Version, open_store
from dspex_ray.tracing import span
from dspex_ray.tracing.joining import keep_in, settings_to_send

RuntimeName = Literal["ray", "in-process"]
COORDINATOR, MONITOR, VERSION = "coordinator", "monitor", "version"
_OPERATOR = "operator"  # whoever holds the system; agents do not change its version
_MOST_VERSIONS = 2**31 - 1
_LOOK_S = 0.02
_CONCURRENCY = 64
_ELSEWHERE = (OutcomeUnknownError, AgentStoppedError, MailboxFullError)  # another worker may answer instead
_MOST_WORKERS = 1000
_PRELOAD = ("dspex_ray.program_worker",)


class AgentSystem:
    """A running program. Inputs are answered by its task agents; equal inputs go to the same one while it lives.

    A task agent whose process dies is restarted by its supervisor; what it was answering is asked again of another
    one, since a program's answer may be computed twice.
    """

    def __init__(
        self,
        program: Program,
        system: System,
        workers: tuple[str, ...],
        *,
        ids: IdSource | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.program, self.system, self.workers = program, system, workers
        self._first = program
        self._ids, self._clock = ids or RandomIds(), clock or SystemClock()

    @property
    def name(self) -> str:
        """The system's name, unique on its cluster."""
        return self.system.name

    def run(self, *, timeout_s: float = 60.0, **fields: Any) -> Any:
        """Answer one input, blocking this thread.

        Raises InputError for bad fields, the program's own error, or an AgentSystemError after `timeout_s` seconds.
        """
        question = self._question(fields)
        with span("ask", self.name, request_id=question.request_id):
            for worker, left_s, last in self._tries(question, timeout_s):
                try:
                    return self._output(self.system.ask(worker, question, timeout_s=left_s, retry_safe=last))
                except AgentFailedError as error:
                    raise _own(error) from error
                except _ELSEWHERE:
                    if last:
                        raise
        raise AssertionError("the last try returns or raises")

    async def arun(self, *, timeout_s: float = 60.0, **fields: Any) -> Any:
        """Answer one input, awaited; see `run`."""
        question = self._question(fields)
        with span("ask", self.name, request_id=question.request_id):
            for worker, left_s, last in self._tries(question, timeout_s):
                try:
                    return self._output(await self.system.aask(worker, question, timeout_s=left_s, retry_safe=last))
                except AgentFailedError as error:
                    raise _own(error) from error
                except _ELSEWHERE:
                    if last:
                        raise
        raise AssertionError("the last try returns or raises")

    def use_version(self, which: str | int = "latest", timeout_s: float = 30.0) -> int:
        """Answer with another version of the program, without a restart, and return its number.

        0 is the program that was started. What runs ends with the version it began with; on return every task agent
        answers with the new one. Raises UnknownNameError for a version that is not there, ProgramError for one that
        does not fit, and ClusterError if an agent has not taken it within `timeout_s` seconds.
        """
        deadline = self._clock.monotonic() + timeout_s
        program, number = self._first, AS_STARTED
        try:
            if str(which) != str(AS_STARTED):
                found: Version = self.system.ask(LEDGER, GetVersion(self._first.path, which), timeout_s=timeout_s)
                program, number = self._first.with_state(found.state or {}), found.number
            changed: Versioned = self.system.ask(VERSION, Propose(_OPERATOR, number), timeout_s=timeout_s)
        except AgentFailedError as error:
            raise _own(error) from error
        for worker in self.workers:
            self._await_version(worker, changed.version, deadline)
        self.program = program
        return number

    def _await_version(self, worker: str, change: int, deadline: float) -> None:
        while (left_s := deadline - self._clock.monotonic()) > 0:
            try:
                details = self.system.status(worker, timeout_s=left_s).details
            except MessageError:
                details = {}  # it is being restarted, and comes back with the new version
            if details.get("values", {}).get(VERSION, -1) >= change:
                return
            time.sleep(_LOOK_S)
        raise ClusterError(f"Agent {worker!r} of system {self.name!r} has not taken the version in time; see its log.")

    def tree(self) -> TreeNode:
        """Return the tree of supervisors and agents as of now."""
        return self.system.tree()

    def health(self) -> Health:
        """Return the monitor's judgement of this moment."""
        health: Health = self.system.ask(MONITOR, GetHealth(fresh=True), control=True)
        return health

    def totals(self) -> CallTotals:
        """Return the sums over the program's model calls that the ledger has (half a second behind at most)."""
        totals: CallTotals = self.system.ask(LEDGER, GetTotals(self.program.path))
        return totals

    def stop(self) -> None:
        """Stop every agent and end its process; the last records of model calls are written first."""
        self.system.stop()

    def _question(self, fields: Mapping[str, Any]) -> Predict:
        filled = {**self.program.tuned_input, **fields}
        self.program.Input.parse(filled)  # a bad field is told here, without a hop
        return Predict(filled, self._ids.new("req"))

    def _tries(self, question: Predict, timeout_s: float) -> Iterator[tuple[str, float, bool]]:
        """Yield whom to ask, for how long, and whether it is the last: each once, then the first until the deadline."""
        ring = ring_of(self.workers, question.values)
        deadline = self._clock.monotonic() + timeout_s
        for worker in ring:
            yield worker, max(0.0, deadline - self._clock.monotonic()), False
        yield ring[0], max(0.0, deadline - self._clock.monotonic()), True

    def _output(self, answer: Predicted) -> Any:
        return self.program.Output.model_validate(answer.output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def ring_of(workers: tuple[str, ...], fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the workers in the order to try for an input: rendezvous hashing, so that equal inputs meet."""
    key = repr(sorted(fields.items())) if not _is_json(fields) else canonical_json(dict(fields))
    return tuple(sorted(workers, key=lambda name: hashlib.blake2b(f"{name}\0{key}".encode()).digest()))


def _is_json(fields: Mapping[str, Any]) -> bool:
    return all(isinstance(value, str | int | float | bool | None) for value in fields.values())


def _own(error: AgentFailedError) -> Exception:
    """Return the program's own error where it is one of ours or could travel; the agent's report otherwise."""
    return error.cause if isinstance(error.cause, Exception) else error


def check_workers(workers: int) -> None:
    """Raise UsageError for a number of task agents that no system can have; each is a process of about 100 MB."""
    if workers < 1:
        raise UsageError(f"A system needs at least 1 worker, got {workers}.")
    if workers > _MOST_WORKERS:
        raise UsageError(f"A system has at most {_MOST_WORKERS} workers, got {workers}.")


def check_runtime(runtime: str) -> None:
    """Raise UsageError for a runtime that is not known."""
    if runtime not in get_args(RuntimeName):
        raise UsageError(f"runtime must be 'ray' or 'in-process', got {runtime!r}.")


def start_agent_system(  # noqa: PLR0913 - all keyword-only, each a separate choice of the caller
    program: Program,
    *,
    workers: int = 2,
    runtime: RuntimeName = "ray",
    isolation: Literal["own", "shared"] = "own",
    name: str | None = None,
    store: Store | None = None,
    bench: Bench | None = None,
    address: str | None = None,
    version: str | None = None,
) -> AgentSystem:
    """Start the program's agents and return when all are up.

    `workers` task agents answer, each in a process of its `own` or all in a `shared` one; one warm spare process
    makes a restart quick. `LMLimits` hold for all of them together. `bench` lets them score candidates too. On `ray`
    the cluster at `address` is joined, or a local one started; `in-process` needs none. Raises
    UsageError for bad numbers and ClusterError without a cluster.
    """
    check_workers(workers)
    check_runtime(runtime)
    kept = store or open_store()
    keep_in(kept)
    names = tuple(f"task-{number}" for number in range(1, workers + 1))
    sent = program.with_defaults()
    kwargs = {
        "worker": ProgramWorker,
        "kwargs": {
            "program": Parcel.of(sent),
            "bench": Parcel.of(bench) if bench else None,
            "version": version,
            "tracing": Parcel.of(settings_to_send()) if runtime == "ray" else None,
        },
        "concurrency": _CONCURRENCY,
    }
    system_name = name or f"{type(program).__name__.lower()}-{RandomIds().new('system').split('-')[1]}"
    task = partial(ChildSpec, start=TaskAgent, kwargs=kwargs, isolation=isolation, host="tasks")
    followed: tuple[ChildSpec, ...] = ()
    if bench is None:  # a search asks for values with each unit of work
        followed = (_version_child(system_name, kept),)
        follower = {**kwargs, "variable": VERSION}
        task = partial(task, start=TunedTaskAgent, kwargs=follower, depends_on=(LEDGER, VERSION))
    children = (
        ChildSpec(id=LEDGER, start=LedgerAgent, kwargs={"store": kept}),
        ChildSpec(id=MODEL_LIMITS, start=ModelLimitsAgent),
        *followed,
        *(task(id=name) for name in names),
        ChildSpec(id=COORDINATOR, start=CoordinatorAgent, kwargs={"members": names}),
        ChildSpec(id=MONITOR, start=MonitorAgent),
    )
    spec = SystemSpec(
        name=system_name,
        supervisor=SupervisorSpec(id="supervisor", children=children),
        preload=_PRELOAD,
        spare_hosts=1 if isolation == "own" else 0,
    )
    return AgentSystem(program, _start(spec, runtime, address), names)


def _version_child(system: str, store: Store) -> ChildSpec:
    """Return the agent that says which version the task agents answer with; a system begins with its own program."""
    snapshots = SnapshotStore(store.database, system, RandomIds().new("start"))
    kwargs = {"domain": Int(AS_STARTED, _MOST_VERSIONS, default=AS_STARTED), "policy": Leader(_OPERATOR)}
    return ChildSpec(id=VERSION, start=SharedVariable, kwargs={**kwargs, "store": snapshots})


def _start(spec: SystemSpec, runtime: RuntimeName, address: str | None) -> System:
    try:
        if runtime == "in-process":
            return start_local_system(spec)
        from dspex_agents.runtime.ray_runtime import connect_cluster, start_ray_system  # noqa: PLC0415 - ray costs a second

        connect_cluster(address)
        return start_ray_system(spec)
    except RuntimeUnavailableError as error:
        raise ClusterError(str(error)) from error
    except AgentSystemError as error:
        raise DspexError(str(error)) from error
