"""A program that answers with another model in all its parts, as when a teacher shows how its rows are solved."""

from __future__ import annotations

from typing import TypeVar

from dspex_ray.lm.base import LM
from dspex_ray.programs.model_source import ModelSource
from dspex_ray.programs.program import Program

Taught = TypeVar("Taught", bound=Program)


class TeacherSource(ModelSource):
    """One model for a whole program: what a `model` variable says and what parts have of their own does not count."""

    @staticmethod
    def of(program: Program, lm: str | LM) -> TeacherSource:
        """Return the source of this model with the cache and the limits of a program's own."""
        own = program._source  # noqa: SLF001 - how its model is asked is nobody else's business
        return TeacherSource(lm, own.cache, own.limits)

    def named(self, model: str) -> ModelSource:  # noqa: ARG002 - whatever the name
        """Return this source."""
        return self

    def under(self, part: ModelSource) -> ModelSource:  # noqa: ARG002 - whatever the part has
        """Return this source."""
        return self


def taught_by(program: Taught, teacher: TeacherSource) -> Taught:
    """Return a copy of the program, of the same values, in which the teacher's model answers every call."""
    return program._copy(_source=teacher)  # noqa: SLF001 - the one way around what the program says of its model
