"""`TokenList`: tokens as text or as ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic_core import CoreSchema, core_schema

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.schema.ml_types.base import MLType, as_list, is_count


@dataclass(frozen=True)
class TokenListRule(MLType):
    """A list of strings and ids from 0 on. Options: `max_tokens`, the most it holds; `vocabulary`, ids are below it."""

    max_tokens: int | None = None
    vocabulary: int | None = None
    kind: ClassVar[str] = "TokenList"

    def checked(self) -> None:
        """Refuse bounds that are no counts."""
        for name in ("max_tokens", "vocabulary"):
            value = getattr(self, name)
            if value is not None and not is_count(value):
                raise ProgramError(f"TokenList's {name} is a whole number from 1 on, got {shown(value)}.")

    def core_schema(self) -> CoreSchema:
        """Return the schema of the list; a truth value is no id."""
        number = core_schema.int_schema(strict=True, ge=0, lt=self.vocabulary)
        token = core_schema.union_schema([core_schema.str_schema(strict=True), number])
        return core_schema.no_info_before_validator_function(
            _listed, core_schema.list_schema(token, max_length=self.max_tokens)
        )


def _listed(value: Any) -> Any:
    return as_list(value)


TokenList: TypeAlias = Annotated[list[str | int], TokenListRule()]
"""Tokens. Lists, tuples and arrays are taken; the value is a list."""
