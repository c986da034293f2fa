"""`Critic`: advice on how the parts of a program should do better, written by a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex_ray.errors import ProgramError
from dspex_ray.example import as_text
from dspex_ray.modules.predict import Predict
from dspex_ray.modules.samples import Sample
from dspex_ray.programs.program import Program
from dspex_ray.prompting.input_message import input_message
from dspex_ray.schema import Schema, field


class PartAdvice(Schema):
    """Advice for one part."""

    part: str = field(description="The part's name, as in `parts`.")
    advice: str = field(description="One or two sentences on what it should do differently for this question.")


class Critic(Predict):
    """An answer of a program was judged not good enough. Find out which of its parts is to blame and advise it.

    Advise only parts that should act differently, concretely, for this question; do not answer the question yourself.
    """

    class Input(Schema):
        """What a critic is told."""

        parts: list[str] = field(description="Each part with what it is told to do.")
        question: str
        answer: str
        score: float = field(description="From 0 (wrong) to 1 (right).")
        feedback: str = field(description="What the judge said.")

    class Output(Schema):
        """What a critic says."""

        advice: list[PartAdvice]

    demos: Any = None  # data has no examples of good advice


def check_critic(critic: Any, name: str) -> None:
    """Raise ProgramError for what is no critic: its Input has fields of `Critic.Input`, its Output an `advice`."""
    told = sorted(Critic.Input.model_fields)
    if not isinstance(critic, Program):
        raise ProgramError(f"{name}.critic is True, or a program of {', '.join(told)} that answers with advice.")
    unknown = sorted(key for key, one in critic.Input.model_fields.items() if one.is_required() and key not in told)
    if unknown or "advice" not in critic.Output.model_fields:
        wrong = f"asks for {', '.join(unknown)}" if unknown else "has no Output field `advice`"
        raise ProgramError(f"{name}.critic {wrong}; its Input may have {', '.join(told)}; its Output has advice.")


async def criticised(critic: Any, program: Program, given: Schema, last: Sample) -> dict[str, str]:
    """Return advice by the place of the part, within the program around `program`. Raises what the critic raises."""
    top = program.place.rpartition(".")[2]
    parts = {top: program, **{f"{top}.{path}": one for path, one in program.parts.items()}}
    told: dict[str, Any] = {
        "parts": [f"{name}: {one.instruction}" for name, one in parts.items()],
        "question": input_message(given).content,
        "answer": answer_text(last),
        "score": last.score or 0.0,
        "feedback": last.feedback or "",
    }
    output: Any = await critic.acall({name: one for name, one in told.items() if name in critic.Input.model_fields})
    if isinstance(output.advice, str):
        return {program.place: output.advice}
    places = {name: one.place for name, one in parts.items()}
    return _joined(places, output.advice)


def _joined(places: Mapping[str, str], advice: list[Any]) -> dict[str, str]:
    """Return the advice by place; what names no part of the program is left out, since nobody would hear it."""
    found: dict[str, list[str]] = {}
    for one in advice:
        if one.part in places:
            found.setdefault(places[one.part], []).append(one.advice)
    return {place: "\n".join(texts) for place, texts in found.items()}


def answer_text(sample: Sample) -> str:
    """Return what a sample answered, as a text to be shown."""
    if sample.output is None:
        return "(no valid answer)"
    return as_text(sample.output.model_dump(mode="json"))
