"""The contract of an answer format: what a model is told of the form of its answer, and how its reply is read.

| member                   | called when, by whom                                                                   |
|--------------------------|----------------------------------------------------------------------------------------|
| `asked(output)`          | by the prompt, once a schema: the words about fields and form after the instruction     |
| `answer(output, values)` | by the prompt, for each demonstration: the reply it should have got; `values` are JSON  |
| `schema(output)`         | for each call: the JSON Schema that a provider may enforce; None to leave it free       |
| `read(text, output)`     | for each reply: the valid output, or OutputError with everything that is wrong          |
| `again`                  | by the prompt, at the end of a complaint about a reply                                  |

`read(answer(output, values), output)` gives the values back, for every valid output. `read` never guesses: a reply that
could mean two things is an error. It takes time in proportion to the reply's length, within a bound.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from dspex_ray.schema import Schema

S = TypeVar("S", bound=Schema)


class AnswerFormat(ABC):
    """See the module's table."""

    name: ClassVar[str]
    again: ClassVar[str]

    @abstractmethod
    def asked(self, output: type[Schema]) -> str:
        """Return what the system message says about the fields and the form."""

    @abstractmethod
    def answer(self, output: type[Schema], values: Mapping[str, Any]) -> str:
        """Return the reply that spells these values, some of the output's fields as JSON."""

    @abstractmethod
    def read(self, text: str, output: type[S]) -> S:
        """Return the output a reply spells. Raises OutputError with every problem and the raw reply."""

    def schema(self, output: type[Schema]) -> Mapping[str, Any] | None:
        """Return the JSON Schema that the provider may enforce; None where the reply is no JSON."""
        del output
        return None
