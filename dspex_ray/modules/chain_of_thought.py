"""`ChainOfThought`: the model reasons in words before it answers (Wei et al. 2022, arXiv 2201.11903)."""

from __future__ import annotations

from typing import Any, ClassVar

from dspex_ray.modules.predict import Predict
from dspex_ray.schema import Schema, field
from dspex_ray.schema.schema import SchemaMeta

REASONING = "reasoning"


class Reasoned(Schema):
    """What an answer begins with."""

    reasoning: str = field(description="Think step by step here, before the other fields.")


class ChainOfThought(Predict):
    """Ask for a `reasoning` first and then for the output, in one call.

    The field `reasoning` is put before the others of `Output`, unless it is declared there. Data and demonstrations
    need not have it.
    """

    unlabelled: ClassVar[frozenset[str]] = frozenset({REASONING})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put the reasoning before the fields of `Output`."""
        declared = vars(cls).get("Output")
        if isinstance(declared, type) and issubclass(declared, Schema) and REASONING not in declared.model_fields:
            cls.Output = _reasoned(declared, f"{cls.__qualname__}.Output")
        cls.unlabelled = cls.unlabelled | {REASONING}
        super().__init_subclass__(**kwargs)


def _reasoned(output: type[Schema], name: str) -> type[Schema]:
    make: Any = SchemaMeta  # type checkers take the call for one that makes an instance
    body = {"__module__": output.__module__, "__qualname__": name, "__doc__": output.__doc__}
    made: type[Schema] = make("Output", (output, Reasoned), body)  # a schema's last base gives its first fields
    return made
