"""`parallel_map`: a program's outputs for many inputs, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, overload

from dspex_ray.errors import UsageError
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_types import Answers

Out = TypeVar("Out")

Progress = Callable[[int, int], None]
"""Called with (inputs done, inputs in all), on the event loop; what it raises stops the rest."""


@overload
async def parallel_map(
    program: Answers[Out],
    inputs: Iterable[Any],
    *,
    concurrency: int = 16,
    on_error: Literal["raise"] = "raise",
    progress: Progress | None = None,
) -> list[Out]: ...
@overload
async def parallel_map(
    program: Answers[Out],
    inputs: Iterable[Any],
    *,
    concurrency: int = 16,
    on_error: Literal["keep"],
    progress: Progress | None = None,
) -> list[Out | Exception]: ...
async def parallel_map(
    program: Any,
    inputs: Iterable[Any],
    *,
    concurrency: int = 16,
    on_error: str = "raise",
    progress: Progress | None = None,
) -> list[Any]:
    """Return the program's output for each input, in their order, with at most `concurrency` calls under way.

    Inputs are mappings or `Input`s. With `raise` an error of the program's own is raised when all inputs before it are
    done, whatever the concurrency, and those after it are not asked any more; a model out of reach stops all at once.
    With `keep` the error stands in the output's place; the caller's mistake (UsageError) is raised all the same.
    `progress` is called after each with how many are done and how many there are.
    """
    asked = _checked(program, inputs, concurrency, on_error)
    batch = _Batch(program, asked, keep=on_error == "keep", progress=progress)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(asked))):
                group.create_task(batch.work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
    return batch.outputs()


def _checked(program: Any, inputs: Any, concurrency: Any, on_error: str) -> list[Any]:
    if not isinstance(program, Program):
        raise UsageError(f"parallel_map takes a program instance, such as Route(), got {shown(program)}.")
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise UsageError(f"concurrency is a whole number from 1 on, got {shown(concurrency)}.")
    if on_error not in ("raise", "keep"):
        raise UsageError(f"on_error is 'raise' or 'keep', got {shown(on_error)}.")
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
        raise UsageError(f"parallel_map takes several inputs, each a mapping or an Input, got {shown(inputs)}.")
    return list(inputs)


class _Batch:
    """Inputs that several workers take in turn."""

    def __init__(self, program: Any, asked: list[Any], *, keep: bool, progress: Progress | None) -> None:
        self._program, self._asked, self._keep, self._progress = program, asked, keep, progress
        self._waiting: Iterator[int] = iter(range(len(asked)))
        self._found: dict[int, Any] = {}
        self._end = len(asked)
        self._running: dict[int, asyncio.Task[Any]] = {}

    async def work(self) -> None:
        """Take inputs until there are none, or none that still matter."""
        for number in self._waiting:
            if number >= self._end:
                return
            task = self._running[number] = asyncio.ensure_future(self._program.acall(self._asked[number]))
            try:
                await asyncio.wait([task])
            finally:
                del self._running[number]
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
            if not task.cancelled():
                self._take(number, task)

    def _take(self, number: int, task: asyncio.Task[Any]) -> None:
        error = task.exception()
        if number > self._end:
            return  # it ended before it could be cancelled
        if error is None:
            self._found[number] = task.result()
        elif not isinstance(error, Exception) or isinstance(error, UsageError):
            raise error
        elif self._keep:
            self._found[number] = error
        elif is_infrastructure(error):
            raise error
        elif number < self._end:
            self._found[number], self._end = error, number
            for later, running in self._running.items():
                if later > number:
                    running.cancel()
        if self._progress is not None:
            self._progress(len(self._found), len(self._asked))

    def outputs(self) -> list[Any]:
        """Return what was found, in order. Raises the first error in order that is not to be kept."""
        if self._end < len(self._asked):
            raise self._found[self._end]
        return [self._found[number] for number in range(len(self._asked))]
