"""`CodeRunner`: what runs the code that a model wrote.

| member | called when, by whom | must |
|---|---|---|
| `run(code, inputs, tools, limits)` | by `ProgramOfThought`, once a try, on the caller's loop | keep nothing from one run to the next; let the code reach `inputs` and `tools` and nothing else: no file, variable of the environment, socket, process or import beyond the runner's own; keep the limits; tell what the code does wrong in `Ran.error`, and raise only what the code cannot help (a package or a worker that is missing), cancellation, and what a tool lets pass |
"""  # noqa: E501 - a row of a table

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, runtime_checkable

from dspex_ray.errors import ProgramError
from dspex_ray.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLimits:
    """What one run may use at most. Raises ProgramError for a limit that is not positive.

    `time_s` is the interpreter's own time, `wall_s` everything, tools included, both in seconds.
    """

    time_s: float = 5.0
    wall_s: float = 60.0
    memory_bytes: int = 64 << 20
    recursion: int = 200
    code_chars: int = 50_000
    output_chars: int = 10_000
    """Of what is printed, and of the value and the error in their text form."""
    tool_calls: int = 50

    def __post_init__(self) -> None:
        wrong = [one.name for one in fields(self) if not getattr(self, one.name) > 0]
        if wrong:
            raise ProgramError(f"CodeLimits: {', '.join(wrong)} must be above 0.")

    def to_setting(self) -> dict[str, Any]:
        """Return the limits by name, for a saved program."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run came to: what was printed, the value of the last expression as JSON, and what went wrong, if anything.

    `value` is None where the code does not end in an expression.
    """

    stdout: str = ""
    value: Any = None
    error: str | None = None


@runtime_checkable
class CodeRunner(Protocol):
    """See the module's table."""

    async def run(
        self, code: str, inputs: Mapping[str, Any], *, tools: Sequence[Tool] = (), limits: CodeLimits | None = None
    ) -> Ran:
        """Run the code with `inputs` as its variables and `tools` as its functions."""
        ...

    def told(self) -> str:
        """Return what a model has to know to write code for it, in a few sentences."""
        ...
