"""What type checkers know of a program: its nested `Input` goes in, its nested `Output` comes out."""

from __future__ import annotations

from typing import Protocol, TypeVar

In_co = TypeVar("In_co", covariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Answers(Protocol[Out_co]):
    """A program whose outputs are of type `Out_co`; any class with a nested `Output` matches."""

    @property
    def Output(self) -> type[Out_co]:  # noqa: N802 - the name of the nested class
        """The schema of the output."""
        ...


class Asked(Protocol[In_co, Out_co]):
    """A program that takes an `In_co` and answers with an `Out_co`."""

    @property
    def Input(self) -> type[In_co]:  # noqa: N802 - the name of the nested class
        """The schema of the input."""
        ...

    @property
    def Output(self) -> type[Out_co]:  # noqa: N802 - the name of the nested class
        """The schema of the output."""
        ...
