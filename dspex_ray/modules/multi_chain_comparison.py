"""`MultiChainComparison`: answers, and one more in view of them (Yoran et al. 2023, arXiv 2304.13007)."""

from __future__ import annotations

from typing import Any, ClassVar

from dspex_ray.example import as_text
from dspex_ray.modules.samples import Sample, note
from dspex_ray.modules.self_consistency import SelfConsistency
from dspex_ray.prompting.advice import advised
from dspex_ray.prompting.rollouts import rollout


class MultiChainComparison(SelfConsistency):
    """Ask the program `n` times at once, then once more with these attempts at the end of its prompt, to be compared.

    Where all attempts agree there is nothing to compare, and the first is returned. Settings and failures are as in
    `SelfConsistency`. Made around a `ChainOfThought`, the attempts are shown with their reasoning.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"n", "key", "temperature"})
    n: Any = 3

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return the first attempt if all agree, else the answer that compares them."""
        samples = await self._round(input, 0, self.n)
        for sample in samples:
            note(sample)
        valid = [sample for sample in samples if sample.error is None]
        if not valid:
            raise next(sample.error for sample in samples if sample.error is not None)
        if len({self._group(sample.output) for sample in valid}) == 1:
            return valid[0].output
        with advised({self.program.place: _compared(valid)}), rollout(self.n):
            return await self._ask(input)


def _compared(samples: list[Sample]) -> str:
    attempts = [f"Attempt {at}:\n{as_text(one.output.model_dump(mode='json'))}" for at, one in enumerate(samples, 1)]
    told = "Several attempts came to different answers. Compare them, find where they go wrong, and answer yourself."
    return "\n\n".join((told, *attempts))
