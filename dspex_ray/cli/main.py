"""The commands, and the one place where an error becomes a paragraph and an exit code."""

from __future__ import annotations

import shlex
import signal
import sys
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import typer

import dspex_agents
import dspex_coordination
import dspex_ray
from dspex_agents.errors import AgentSystemError
from dspex_agents.settings import apply_environment
from dspex_coordination.errors import CoordinationError
from dspex_ray.cli.agents import COMMANDS as AGENTS_COMMANDS
from dspex_ray.cli.agents import agents
from dspex_ray.cli.agents.systems import Systems
from dspex_ray.cli.audit import COMMANDS as AUDIT_COMMANDS
from dspex_ray.cli.audit import audit
from dspex_ray.cli.budget import COMMANDS as BUDGET_COMMANDS
from dspex_ray.cli.budget import budget
from dspex_ray.cli.cache import COMMANDS as CACHE_COMMANDS
from dspex_ray.cli.cache import cache
from dspex_ray.cli.cost import cost
from dspex_ray.cli.data import COMMANDS as DATA_COMMANDS
from dspex_ray.cli.data import data
from dspex_ray.cli.demo import demo
from dspex_ray.cli.deploy import deploy, stop
from dspex_ray.cli.doctor import doctor
from dspex_ray.cli.evaluate import evaluate
from dspex_ray.cli.experiments import COMMANDS as EXPERIMENT_COMMANDS
from dspex_ray.cli.experiments import experiment
from dspex_ray.cli.interrupt import STOPPING, Interrupt, StoppedError
from dspex_ray.cli.keys import COMMANDS as KEYS_COMMANDS
from dspex_ray.cli.keys import keys
from dspex_ray.cli.optimize import optimize
from dspex_ray.cli.output import print_json, stdout_for_json
from dspex_ray.cli.run import run
from dspex_ray.cli.status import status
from dspex_ray.cli.sweeps import COMMANDS as SWEEPS_COMMANDS
from dspex_ray.cli.sweeps import sweeps
from dspex_ray.cli.trace import trace
from dspex_ray.cli.traffic import COMMANDS as TRAFFIC_COMMANDS
from dspex_ray.cli.traffic import traffic
from dspex_ray.cli.versions import COMMANDS as VERSIONS_COMMANDS
from dspex_ray.cli.versions import versions
from dspex_ray.errors import DspexError, InputError, InterruptedRunError, UsageError
from dspex_ray.terminal import err

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

_ENVIRONMENT = {
    # Ray reads it when it is imported: our tree tells of a dead process in one line, Ray in a paragraph
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed while executing a task",
}

app = typer.Typer(
    name="dspex",
    help="Typed, tunable programs over language models: optimise, run and serve them with supervised agents on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS = {each.__name__: each for each in (demo, run, evaluate, optimize, deploy, stop, status, cost, trace, doctor)}
for each in _COMMANDS.values():
    app.command()(each)
_GROUPS: dict[str, tuple[typer.Typer, Mapping[str, object]]] = {
    "agents": (agents, AGENTS_COMMANDS),
    "audit": (audit, AUDIT_COMMANDS),
    "budget": (budget, BUDGET_COMMANDS),
    "cache": (cache, CACHE_COMMANDS),
    "data": (data, DATA_COMMANDS),
    "experiment": (experiment, EXPERIMENT_COMMANDS),
    "keys": (keys, KEYS_COMMANDS),
    "sweeps": (sweeps, SWEEPS_COMMANDS),
    "traffic": (traffic, TRAFFIC_COMMANDS),
    "versions": (versions, VERSIONS_COMMANDS),
}
for name, (group, _) in _GROUPS.items():
    app.add_typer(group, name=name)
_PATHS = {(name,) for name in (*_COMMANDS, *_GROUPS)} | {
    (name, command) for name, (_, commands) in _GROUPS.items() for command in commands
}

_OUR_FOLDERS = tuple(Path(str(module.__file__)).parent for module in (dspex_agents, dspex_coordination, dspex_ray))
_LIBRARY_FOLDERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    interrupt = Interrupt()
    for number in STOPPING:
        signal.signal(number, interrupt)
    code = _run(arguments)
    interrupt.ignore()  # what is left is Ray's own end; interrupted, it would leave processes behind
    sys.exit(code)


def _run(arguments: list[str], systems: Systems | None = None) -> int:
    """Run a command and return the exit code. `dspex agents` looks at `systems` instead of a cluster if given."""
    as_json, debug = "--json" in arguments, "--debug" in arguments
    apply_environment(_ENVIRONMENT)
    with stdout_for_json(as_json):
        try:
            code = app(args=arguments, prog_name="dspex", standalone_mode=False, obj=systems)
        except typer.TyperException as error:
            text = error.format_message()
            return _report(_usage(text, arguments), "UsageError", error.exit_code, as_json=as_json) if text else EXIT_OK
        except InterruptedRunError as stopped:
            return _report(_resumable(stopped, arguments), type(stopped).__name__, EXIT_INTERRUPTED, as_json=as_json)
        except StoppedError as stopped:
            return _report(str(stopped), "KeyboardInterrupt", EXIT_INTERRUPTED, as_json=as_json)
        except (KeyboardInterrupt, typer.Abort):
            code = EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes a paragraph and a code
            if debug:
                traceback.print_exc()
            return _report(_paragraph(error), type(error).__name__, _exit_code(error), as_json=as_json)
        if code == EXIT_INTERRUPTED:  # typer, too, makes this of a KeyboardInterrupt
            return _report("Interrupted; there is nothing to resume.", "KeyboardInterrupt", code, as_json=as_json)
    return code if isinstance(code, int) else EXIT_OK


def resume_command(arguments: Sequence[str], run_id: str) -> str:
    """Return the command line that resumes a run: the same words, with `--resume`."""
    words = [
        word
        for before, word in pairwise(["", *arguments])
        if "--resume" not in (before, word) and not word.startswith("--resume=")
    ]
    return shlex.join(["dspex", *words, "--resume", run_id])


def _resumable(stopped: InterruptedRunError, arguments: Sequence[str]) -> str:
    again = resume_command(arguments, stopped.run_id)
    return f"Run {stopped.run_id} was interrupted; all its recorded rows are kept. Go on with:\n  {again}"


def _usage(text: str, arguments: Sequence[str]) -> str:
    named = next((words for n in (2, 1) if (words := tuple(arguments[:n])) in _PATHS), ())
    stop = "" if text.endswith((".", "?")) else "."
    return f"{text}{stop} See `{' '.join(('dspex', *named, '--help'))}`."


def _exit_code(error: Exception) -> int:
    return EXIT_USAGE if isinstance(error, UsageError | InputError) else EXIT_FAILURE


def _paragraph(error: Exception) -> str:
    if isinstance(error, DspexError | AgentSystemError | CoordinationError):
        return str(error)
    told = f"{type(error).__name__}: {error}".rstrip(".: ")
    place = _own_line(error)
    if place is None:
        return f"{told}. This is a defect of dspex_ray; run again with --debug to see where."
    return f"{told}, raised in {place}. Run again with --debug for the traceback."


def _own_line(error: Exception) -> str | None:
    """Return the user's line that raised, or called a library that did; None if it was one of ours."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if any(path.is_relative_to(folder) for folder in _OUR_FOLDERS):
            return None
        if not any(path.is_relative_to(folder) for folder in _LIBRARY_FOLDERS):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def _report(text: str, kind: str, code: int, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"type": kind, "message": text, "exit_code": code}})
    else:
        err.print(text, style="red", markup=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
