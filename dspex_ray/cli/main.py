"""The commands, and the one place where an error becomes a paragraph and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import typer

from dspex_agents.errors import AgentSystemError
from dspex_agents.settings import apply_environment
from dspex_coordination.errors import CoordinationError
from dspex_ray.cli.demo import demo
from dspex_ray.cli.deploy import deploy, stop
from dspex_ray.cli.doctor import doctor
from dspex_ray.cli.evaluate import evaluate
from dspex_ray.cli.optimize import optimize
from dspex_ray.cli.output import err, keep_stdout_for_json, print_json
from dspex_ray.cli.run import run
from dspex_ray.cli.status import status
from dspex_ray.cli.versions import versions
from dspex_ray.errors import DspexError, InputError, InterruptedRunError, UsageError

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
for command in (demo, run, evaluate, optimize, deploy, stop, status, versions, doctor):
    app.command()(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    as_json, debug = "--json" in arguments, "--debug" in arguments
    apply_environment(_ENVIRONMENT)
    if as_json:
        keep_stdout_for_json()
    try:
        code = app(args=arguments, prog_name="dspex", standalone_mode=False)
    except typer.TyperException as error:
        text = f"{error.format_message()} See `dspex {' '.join(arguments[:1])} --help`."
        return _report(text, "UsageError", error.exit_code, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _report("Interrupted.", "KeyboardInterrupt", EXIT_INTERRUPTED, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes a paragraph and a code
        if debug:
            traceback.print_exc()
        return _report(_paragraph(error), type(error).__name__, _exit_code(error), as_json=as_json)
    return code if isinstance(code, int) else EXIT_OK


def _exit_code(error: Exception) -> int:
    match error:
        case InterruptedRunError():
            return EXIT_INTERRUPTED
        case UsageError() | InputError():
            return EXIT_USAGE
        case _:
            return EXIT_FAILURE


def _paragraph(error: Exception) -> str:
    if isinstance(error, DspexError | AgentSystemError | CoordinationError):
        return str(error)
    return f"{type(error).__name__}: {error}. This is a defect; run again with --debug to see where."


def _report(text: str, kind: str, code: int, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"type": kind, "message": text, "exit_code": code}})
    else:
        err.print(text, style="red", markup=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
