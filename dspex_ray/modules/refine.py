"""`Refine`: answer, be told what is wrong with the answer, and answer again (after Madaan et al. 2023, 2303.17651)."""

from __future__ import annotations

from typing import Any, ClassVar

from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.modules.best_of_n import BestOfN, Tries
from dspex_ray.modules.critic import Critic, answer_text, check_critic, criticised
from dspex_ray.modules.samples import Sample
from dspex_ray.problems import shown
from dspex_ray.prompting.advice import advised
from dspex_ray.schema import Schema


class Refine(BestOfN):
    """Ask the program up to `n` times, each time with what was wrong the last time; return the best output.

    As `BestOfN`, one after another. Every model call of the program is told the last answer, its score and the
    feedback that `metric` gives, at the end of its prompt. With `critic=True` a model also writes advice for each part
    of the program, which that part alone is told; `critic` may be a program of your own, see `Critic`. Advice that
    never becomes valid is done without. The critic's variables are found as `critic.<variable>`.
    """

    settings: ClassVar[frozenset[str]] = (BestOfN.settings | {"critic"}) - {"concurrent"}
    critic: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put the usual critic in the place of True."""
        if vars(cls).get("critic") is True:
            cls.critic = Critic()
        super().__init_subclass__(**kwargs)

    @classmethod
    def _check_declared(cls) -> None:
        super()._check_declared()
        if cls.critic is not None and cls.critic is not False:
            check_critic(cls.critic, cls.__name__)
        if cls.concurrent is not False:
            raise ProgramError(
                f"{cls.__name__}.concurrent is {shown(cls.concurrent)}: each try learns from the one before, so they "
                "run one after another."
            )

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return the best of up to `n` outputs."""
        tries, advice = Tries(self.n, self.fail_count), dict[str, str]()
        for number in range(self.n):
            with advised(advice):
                sample = await self._sample(input, number, "\n".join(advice.values()) or None)
            tries.add(sample)
            if self._will_do(sample):
                break
            if number + 1 < self.n:
                advice = await self._advice(input, sample)
        return tries.best.output

    async def _advice(self, given: Schema, last: Sample) -> dict[str, str]:
        place = self.program.place
        told = {place: _told(last)}
        if not self.critic:
            return told
        try:
            written = await criticised(self.critic, self.program, given, last)
        except OutputError:
            return told  # the call stands in the ledger; the answer is not to be lost for want of advice
        whole = [told[place], *(text for at, text in written.items() if at == place)]
        return {**written, place: "\n".join(whole)}


def _told(last: Sample) -> str:
    if last.error is not None:
        return f"An earlier try ended without a valid answer. {last.error.message}"
    lines = [
        "An earlier try ended with this answer:",
        answer_text(last),
        f"It scored {last.score or 0.0:g} of 1, which is not enough. Give a better one.",
        last.feedback or "",
    ]
    return "\n".join(line for line in lines if line)
