"""`SelfConsistency`: several answers sampled, the most frequent one kept (Wang et al. 2022, arXiv 2203.11171)."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import aclosing
from typing import Any, ClassVar

from dspex_coordination.variables import Variable
from dspex_ray.errors import OutputError, ProgramError
from dspex_ray.modules.answer_key import answer_key
from dspex_ray.modules.ballots import Ballots
from dspex_ray.modules.in_order import in_order
from dspex_ray.modules.predict import Predict
from dspex_ray.modules.samples import Sample, Vote, note
from dspex_ray.modules.wrapper import Wrapper, number_setting, whole_setting
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.prompting.rollouts import rollout
from dspex_ray.schema import Schema

_TEMPERATURE = "temperature"
_USUAL = 0.7
_MOST_AT_ONCE = 16


class SelfConsistency(Wrapper):
    """Ask the program `n` times and return the earliest output with the most frequent answer.

    Outputs agree if their fields but the `unlabelled` ones do (see `answer_key`), or if `key(output)` is equal. No more
    are asked for than may change the result: two that agree of three are enough. What may run together does, up to 16
    at a time, and no call is made for nothing. With `min_agreement` the winner needs that share of `n`; else more are
    asked for, up to `max_samples`, and then an OutputError is raised. An output that never becomes valid has no vote;
    without any the first error is raised. `with sampling() as log` tells votes and agreement.

    The samples are taken at `temperature`; without it at 0.7, where the program has such a variable at its default.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"n", "key", "min_agreement", "max_samples", "temperature"})
    _functions: ClassVar[frozenset[str]] = frozenset({"key"})
    n: Any = 5
    key: Any = None
    min_agreement: Any = 0.0
    max_samples: Any = None
    temperature: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Set the temperature of the program."""
        own = vars(cls)
        if isinstance(own.get("program"), str | tuple):
            cls.program = Predict(own["program"], temperature=_USUAL if cls.temperature is None else cls.temperature)
        elif own.keys() & {"program", _TEMPERATURE} and isinstance(getattr(cls, "program", None), Program):
            cls.program = _at_temperature(cls.program, cls.temperature, cls.__name__)
        super().__init_subclass__(**kwargs)

    @classmethod
    def _body(cls, around: Any) -> tuple[str, dict[str, Any]]:
        if isinstance(around, str | tuple):  # a Predict of it is made where the temperature is known
            return Predict(around).path, {"program": around}
        return super()._body(around)

    @classmethod
    def _check_declared(cls) -> None:
        super()._check_declared()
        whole_setting(cls, "n", 1)
        number_setting(cls, "min_agreement")
        if cls.max_samples is not None:
            whole_setting(cls, "max_samples", 1)
        if cls.key is not None and not callable(cls.key):
            raise ProgramError(f"{cls.__name__}.key is a function of an output, got {shown(cls.key)}.")

    async def predict(self, input: Any) -> Any:  # noqa: A002 - as in the base
        """Return the output that most samples agree with."""
        ballots = Ballots(self.n, max(self.n, self.max_samples or 0), self.min_agreement)
        firsts: dict[Hashable, Any] = {}
        failed: list[OutputError] = []
        while not ballots.settled:
            for sample in await self._round(input, ballots.taken, min(ballots.surely_needed(), _MOST_AT_ONCE)):
                note(sample)
                if sample.error is not None:
                    failed.append(sample.error)
                    ballots = ballots.with_failure()
                    continue
                group = self._group(sample.output)
                firsts.setdefault(group, sample.output)
                ballots = ballots.with_vote(group)
        return self._elected(ballots, firsts, failed)

    async def _round(self, given: Schema, start: int, count: int) -> list[Sample]:
        async with aclosing(
            in_order(lambda at: self._sample(given, start + at), count, ahead=_MOST_AT_ONCE)
        ) as samples:
            return [sample async for sample in samples]

    def _elected(self, ballots: Ballots, firsts: dict[Hashable, Any], failed: list[OutputError]) -> Any:
        if ballots.winner is None:
            raise failed[0]
        group, votes = ballots.winner
        saved = max(0, ballots.planned - ballots.taken)
        note(Vote(place=self.place, output=firsts[group], votes=votes, samples=ballots.taken, saved=saved))
        if not ballots.agreed:
            raise OutputError(
                f"{self.path}: the most frequent answer has {votes} of {ballots.taken} samples, and min_agreement is "
                f"{self.min_agreement:g}. Ask for a lower one, or for more samples with max_samples.",
                firsts[group].model_dump_json(),
            )
        return firsts[group]

    async def _sample(self, given: Schema, number: int) -> Sample:
        try:
            with rollout(number):
                return Sample(number=number, place=self.place, output=await self._ask(given))
        except OutputError as error:
            return Sample(number=number, place=self.place, error=error)

    def _group(self, output: Any) -> Hashable:
        if self.key is None:
            return answer_key(output, self.unlabelled)
        group = self.key(output)
        if not isinstance(group, Hashable):
            raise ProgramError(
                f"{self.path}: key gave {shown(group)}, which cannot be counted; give a text or a number."
            )
        return group


def _at_temperature(program: Program, wanted: float | None, name: str) -> Program:
    variable = program.space().variables.get(_TEMPERATURE)
    if wanted is not None:
        if variable is None or isinstance(wanted, Variable):
            raise ProgramError(
                f"{name}.temperature is a number that the program's variable `temperature` is set to, got "
                f"{shown(wanted)}" + ("." if variable else f"; {program.path} has no such variable.")
            )
        return program.with_values({_TEMPERATURE: wanted})
    if variable is None or program.values[_TEMPERATURE] != variable.default:
        return program
    try:
        return program.with_values({_TEMPERATURE: _USUAL})
    except ProgramError:
        return program  # its bounds leave that out
