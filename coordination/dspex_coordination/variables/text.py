"""`Text`: a text out of a pool, such as an instruction."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any, ClassVar, Self, Unpack

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.checks import integer
from dspex_coordination.variables.links import Links
from dspex_coordination.variables.moves import checked_strength
from dspex_coordination.variables.one_of import OneOf


class Text(OneOf[str]):
    """One of the texts of a pool, to which the default always belongs.

    Without a pool every text of up to `max_chars` characters is a value, and a search draws the default. `with_pool`
    gives or grows the pool for one search; texts added so are data, no part of the JSON form.
    """

    kind: ClassVar[str] = "text"

    def __init__(
        self,
        default: str,
        *,
        pool: Sequence[str] | None = None,
        max_chars: int | None = None,
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        self.max_chars = None if max_chars is None else integer(max_chars, "Text: max_chars")
        if self.max_chars is not None and self.max_chars < 1:
            raise VariableError(f"Text: max_chars must be at least 1, got {self.max_chars}.")
        self.default = self._checked(default)
        self._given = None if pool is None else self._checked_pool(pool)
        self._take_pool(self._given)

    def _take_pool(self, pool: tuple[str, ...] | None) -> None:
        self.pool = pool
        self._take_options(self._merged((self.default,), pool or ()))

    def _checked(self, text: Any) -> str:
        if not isinstance(text, str):
            raise self._reject(text, "a text")
        if self.max_chars is not None and len(text) > self.max_chars:
            raise VariableError(f"{self.label}: {len(text)} characters are more than max_chars={self.max_chars}.")
        return text

    def _checked_pool(self, pool: Any) -> tuple[str, ...]:
        if isinstance(pool, str) or not isinstance(pool, Sequence):
            raise VariableError(f"{self.label}: pool must be a list of texts, got {pool!r}.")
        return tuple(dict.fromkeys(self._checked(text) for text in pool))

    @staticmethod
    def _merged(*pools: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for pool in pools for text in pool))

    def with_pool(self, texts: Sequence[str]) -> Self:
        """Return this variable with `texts` added to its pool. Raises VariableError for what is no text or too long."""
        pool = self._merged(self.pool or (), self._checked_pool(texts))
        twin = copy.copy(self)
        for attribute in ("pool", "options", "_index", "_drawn", "_edges"):
            del vars(twin)[attribute]  # the twin is not shared yet
        twin._take_pool(pool)  # noqa: SLF001 - of its own class
        return twin

    def validate(self, value: Any) -> str:
        """Return `value` if it is a text of the pool, or without a pool any text that is not too long."""
        text = self._checked(value)
        return text if self.pool is None else super().validate(text)

    def unit(self, value: str) -> float:
        """Return the middle of the text's share of all draws; without a pool the middle of the axis."""
        if self.pool is None:
            self.validate(value)
            return self._edges[-1] / 2
        return super().unit(value)

    def mutate(self, value: str, rng: random.Random, strength: float) -> str:
        """Return another text of the pool; without a pool the default, the only text that is drawn."""
        if self.pool is None:
            checked_strength(strength, self.label)
            self.validate(value)
            return self.default
        return super().mutate(value, rng, strength)

    def fields(self) -> dict[str, Any]:
        """Return the default, and the pool of the definition and max_chars where they are set."""
        extra = {"pool": None if self._given is None else list(self._given), "max_chars": self.max_chars}
        return {"default": self.default} | {key: value for key, value in extra.items() if value is not None}

    @property
    def cardinality(self) -> int | None:
        """The number of texts in the pool, with the default; None without a pool."""
        return None if self.pool is None else len(self.options)
