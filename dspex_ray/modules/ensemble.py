"""`Ensemble`: several programs asked about one input, the most frequent answer kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_ray.errors import ProgramError
from dspex_ray.modules.answer_key import answer_key
from dspex_ray.modules.ballots import Ballots
from dspex_ray.modules.parallel import Parallel
from dspex_ray.modules.samples import Vote, note
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema


class Ensemble(Parallel):
    """Ask all `programs` at once and return the output that most of them agree with, ties to the program named first.

    As `Parallel`, with the outputs of one form: `Ensemble({"short": Short(), "long": Long()})`. Fields that any of
    them has as `unlabelled` do not count, see `answer_key`. A program that fails by itself has no vote; if all do, the
    first one's error is raised. `with sampling() as log` tells votes and agreement.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the unlabelled fields of the programs."""
        super().__init_subclass__(**kwargs)
        if "programs" in vars(cls) and "unlabelled" not in vars(cls):
            cls.unlabelled = frozenset().union(*(one.unlabelled for one in cls.programs.values()))

    @classmethod
    def _joined_output(cls, programs: Mapping[str, Program]) -> type[Schema]:
        first: type[Schema] = next(iter(programs.values())).Output
        for name, one in programs.items():
            if set(one.Output.model_fields) != set(first.model_fields):
                raise ProgramError(
                    f"program {name!r} answers with {', '.join(one.Output.model_fields)}, and the first one with "
                    f"{', '.join(first.model_fields)}; only answers of one form can be counted."
                )
        return first

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return the output with the most votes."""
        outputs, failed = await self._asked(input)
        if not outputs:
            raise next(iter(failed.values()))
        ballots = Ballots(len(self.programs), len(self.programs)).with_failure(len(failed))
        keys = {name: answer_key(output, self.unlabelled) for name, output in outputs.items()}
        for key in keys.values():
            ballots = ballots.with_vote(key)
        group, votes = ballots.winner or ("", 0)
        chosen = next(outputs[name] for name, key in keys.items() if key == group)
        note(Vote(place=self.place, output=chosen, votes=votes, samples=ballots.taken, saved=0))
        return chosen if isinstance(chosen, self.Output) else self.Output.parse(chosen.model_dump(mode="json"))
