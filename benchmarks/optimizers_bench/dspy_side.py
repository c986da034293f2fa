"""DSPy's SIMBA, MIPROv2 and GEPA through their public interfaces, on the simulated model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy
from side import Figures

from optimizers_bench.rules import Case, Task, marked
from optimizers_bench.server import World
from optimizers_bench.settings import TEMPERATURE
from optimizers_bench.tasks import TASKS, splits_of

_ASKED = {"routing": 0.72, "extraction": 0.65, "arithmetic": 0.44, "two_hop": 0.54}
"""Of the rows of MIPROv2: the rest comes from its cache, or is never bootstrapped since a set has enough."""
_SIMBA_STEP = 6 * 32 + 7 * 32  # rows of a step with its defaults: trajectories, then candidates


class TwoHop(dspy.Module):
    """Say what to do about the pump."""

    def __init__(self) -> None:
        super().__init__()
        calls = TASKS["two_hop"].calls
        self.diagnose = dspy.Predict(dspy.Signature("report -> finding", calls[0].instruction))
        self.decide = dspy.Predict(dspy.Signature("report, finding -> action", calls[1].instruction))

    def forward(self, report: str) -> Any:
        found = self.diagnose(report=report)
        return self.decide(report=report, finding=found.finding)


class OneCall(dspy.Module):
    """Answer with one call."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        call = task.calls[0]
        outputs = ", ".join(f"{name}: {kind.__name__}" for name, kind in call.outputs.items())
        self.answer = dspy.Predict(dspy.Signature(f"{call.inputs[0]} -> {outputs}", call.instruction))

    def forward(self, **given: str) -> Any:
        return self.answer(**given)


def program_of(task: Task) -> Any:
    """Return the task's program."""
    return TwoHop() if task.name == "two_hop" else OneCall(task)


@dataclass(frozen=True)
class _Given:
    """What a run is given: the model, its server, the budget in calls and in rows, the seed and the threads."""

    lm: Any
    server: World
    budget: int
    rows: int
    seed: int
    workers: int


def optimized(system: str, task: str, seed: int, urls: dict[str, str], budget: int, workers: int) -> Figures:
    """Optimise within about so many calls; return what the program found scores on the test cases."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    chosen, cases = TASKS[task], splits_of(TASKS[task], seed)
    lm = _lm(urls["counted"])
    dspy.configure(lm=lm)
    calls = len(chosen.calls)
    run: Callable[..., Any] = {"simba": _simba, "miprov2": _mipro, "gepa": _gepa}[system]
    started = time.perf_counter()
    server = World(urls["counted"].removesuffix("/v1"))
    found = run(chosen, cases, _Given(lm, server, budget, budget // calls, seed, workers))
    spent_s = time.perf_counter() - started
    return {"wall_s": spent_s, **_judged(found, chosen, cases.test, urls["aside"])}


def untuned(task: str, seed: int, urls: dict[str, str]) -> Figures:
    """Return what the program as it was written scores on the test cases."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    return _judged(program_of(TASKS[task]), TASKS[task], splits_of(TASKS[task], seed).test, urls["aside"])


def told(task: str, seed: int, urls: dict[str, str], instructions: dict[str, str], demos: int) -> Figures:
    """Return what the program scores with these instructions by place, and the first train cases as demonstrations."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    program = program_of(TASKS[task])
    cases = splits_of(TASKS[task], seed)
    for name, predictor in program.named_predictors():
        text = instructions.get("" if name == "answer" else name)
        if text is not None:
            predictor.signature = predictor.signature.with_instructions(text)
        predictor.demos = _examples(TASKS[task], cases.train[:demos])
    return _judged(program, TASKS[task], cases.test, urls["aside"])


def _simba(task: Task, cases: Any, given: _Given) -> Any:
    """Its defaults; fewer or more steps by the budget. It takes one set, so it gets both splits to learn from."""
    both = [*cases.train, *cases.validation]
    steps = max(1, (given.rows - 7 * len(both)) // _SIMBA_STEP)
    made = dspy.SIMBA(metric=_scored(task, both), max_steps=steps, num_threads=given.workers)
    return made.compile(program_of(task), trainset=_examples(task, both), seed=given.seed)


def _mipro(task: Task, cases: Any, given: _Given) -> Any:
    """Its own number of candidates for `medium`; as many trials as the budget allows."""
    number, batch, whole = 12, 35, len(cases.validation)
    bootstrapped = 4 * number  # about: it stops a set when it has enough that are right
    trials = max(4, int((given.rows / _ASKED[task.name] - whole - bootstrapped) / (batch + whole / 5)))
    made = dspy.MIPROv2(
        metric=_scored(task, [*cases.train, *cases.validation]),
        auto=None,
        num_candidates=number,
        num_threads=given.workers,
        seed=given.seed + 1,  # it takes 0 for none
        verbose=False,
    )
    return made.compile(
        program_of(task),
        trainset=_examples(task, cases.train),
        valset=_examples(task, cases.validation),
        num_trials=trials,
        minibatch_size=batch,
    )


def _gepa(task: Task, cases: Any, given: _Given) -> Any:
    """Its defaults; it stops by the calls that the server has counted, since its budget in rows counts cached ones."""
    known = {case.text: case for case in (*cases.train, *cases.validation)}

    def metric(gold: Any, pred: Any, _trace: Any = None, _name: Any = None, _pred_trace: Any = None) -> Any:
        score, feedback = marked(task, known[gold[task.question]], dict(pred))
        return dspy.Prediction(score=score, feedback=feedback)

    made = dspy.GEPA(
        metric=metric,
        max_metric_calls=10 * given.rows,
        reflection_lm=given.lm.copy(temperature=1.0),
        num_threads=given.workers,
        seed=given.seed,
        gepa_kwargs={"stop_callbacks": lambda _state: given.server.counted().get("calls", 0) >= given.budget},
    )
    return made.compile(
        program_of(task), trainset=_examples(task, cases.train), valset=_examples(task, cases.validation)
    )


def _scored(task: Task, cases: Any) -> Callable[..., Any]:
    """Return the metric; while demonstrations are bootstrapped only what is right altogether counts."""
    known = {case.text: case for case in cases}

    def metric(example: Any, prediction: Any, trace: Any = None) -> Any:
        given = {} if prediction is None else dict(prediction)
        score, feedback = marked(task, known[example[task.question]], given)
        return score == 1.0 if trace is not None else dspy.Prediction(score=score, feedback=feedback)

    return metric


def _examples(task: Task, cases: Any) -> list[Any]:
    rows = [{task.question: case.text, **task.gold(case.facts)} for case in cases]
    return [dspy.Example(**row).with_inputs(task.question) for row in rows]


def _judged(program: Any, task: Task, cases: tuple[Case, ...], url: str) -> Figures:
    known = {case.text: case for case in cases}

    def metric(example: Any, prediction: Any, _trace: Any = None) -> float:
        return marked(task, known[example[task.question]], dict(prediction))[0]

    program.set_lm(_lm(url))
    run = dspy.Evaluate(
        devset=_examples(task, cases), metric=metric, num_threads=8, display_progress=False, max_errors=1000,
        provide_traceback=False,
    )  # fmt: skip
    return {"test": run(program).score / 100}


def _lm(url: str) -> Any:
    return dspy.LM("openai/small", api_base=url, api_key="unused", temperature=TEMPERATURE, num_retries=6)
