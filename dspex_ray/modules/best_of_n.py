"""`BestOfN`: several answers to one input, of which the one with the best reward is kept."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, ClassVar

from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.metrics.scoring import close_metric
from dspex_ray.modules.in_order import in_order
from dspex_ray.modules.reward import check_reward, rewarded
from dspex_ray.modules.samples import Sample, note
from dspex_ray.modules.wrapper import Wrapper, number_setting, whole_setting
from dspex_ray.problems import shown
from dspex_ray.prompting.rollouts import rollout
from dspex_ray.schema import Schema

_MOST_AT_ONCE = 16


class BestOfN(Wrapper):
    """Ask the program up to `n` times and return the output with the best reward, the earliest of equals.

    `metric(input, output)` is a reward from 0 to 1, plain or awaited; see `Reward`. The first output in order that
    reaches `threshold` is taken at once. One after another by default; with `concurrent`, up to 16 at a time, the
    later ones cancelled when one will do: the same result for more calls and less time. `n` and `threshold` may be
    variables. The first answer is the one that a lone call of the program would get from a cache.

    An answer that never becomes valid has failed; more than `fail_count` of them (by default n - 1), and the first
    one's OutputError is raised. Whatever else the program or the model raises is raised.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"n", "metric", "threshold", "concurrent", "fail_count"})
    n: Any = 5
    metric: Any = None
    threshold: Any = 1.0
    concurrent: Any = False
    fail_count: Any = None

    @classmethod
    def _check_declared(cls) -> None:
        super()._check_declared()
        check_reward(cls.metric, cls.__name__)
        whole_setting(cls, "n", 1)
        number_setting(cls, "threshold")
        if not isinstance(cls.concurrent, bool):
            raise ProgramError(f"{cls.__name__}.concurrent is True or False, got {shown(cls.concurrent)}.")
        if cls.fail_count is not None:
            whole_setting(cls, "fail_count", 0)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return the best of `n` outputs."""
        ahead = _MOST_AT_ONCE if self.concurrent else 1
        tries = Tries(self.n, self.fail_count)
        results = in_order(lambda number: self._sample(input, number), self.n, ahead=ahead, ends=self._will_do)
        async with aclosing(results):
            async for sample in results:
                tries.add(sample)
        return tries.best.output

    async def _sample(self, given: Schema, number: int, advice: str | None = None) -> Sample:
        here: dict[str, Any] = {"number": number, "place": self.place, "advice": advice}
        try:
            with rollout(number):
                output = await self._ask(given)
        except OutputError as error:
            return Sample(error=error, **here)
        verdict = await rewarded(self.metric, given, output, f"sample {number} of {self.program.path}")
        return Sample(output=output, score=verdict.score, feedback=verdict.feedback, **here)

    def _will_do(self, sample: Sample) -> bool:
        return sample.score is not None and sample.score >= self.threshold

    async def aclose(self) -> None:
        """Close the connections of the models and of the metric."""
        await super().aclose()
        await close_metric(self.metric)


class Tries:
    """The samples so far: the best of them, and how many failed."""

    def __init__(self, n: int, fail_count: int | None) -> None:
        self._allowed = n - 1 if fail_count is None else fail_count
        self._failed: list[OutputError] = []
        self._best: Sample | None = None

    def add(self, sample: Sample) -> None:
        """Count a sample in. Raises the first error once too many have failed."""
        note(sample)
        if sample.error is not None:
            self._failed.append(sample.error)
            if len(self._failed) > self._allowed:
                raise self._failed[0]
        elif self._best is None or (sample.score or 0.0) > (self._best.score or 0.0):
            self._best = sample

    @property
    def best(self) -> Sample:
        """The sample with the best score, the earliest of equals. Raises the first error if none is valid."""
        if self._best is None:
            raise self._failed[0]
        return self._best
