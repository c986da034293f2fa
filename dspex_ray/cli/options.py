"""Options that several commands share, spelled once."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

ProgramPath = Annotated[str, typer.Argument(help="The program, as module:Class.", metavar="MODULE:CLASS")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster's address; by default the one on this machine, else a local one.")
]
RunningAddress = Annotated[
    str | None, typer.Option("--address", help="A Ray cluster's address; by default the one on this machine.")
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Database URL or file; by default DSPEX_STORE.")]
Model = Annotated[str | None, typer.Option("--lm", help="Model name, such as openai/gpt-4o-mini; default DSPEX_LM.")]
Mapping = Annotated[
    list[str] | None, typer.Option("--map", help="field=column, where a column has another name. May be repeated.")
]
Metric = Annotated[
    str | None,
    typer.Option(
        help="exact, contains, f1, numeric, semantic, judge(...) or module:function; default exact on labels."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="name=value of a setting of the optimizer, such as minibatch=5. May be repeated."),
]
Teacher = Annotated[
    str | None,
    typer.Option("--teacher", help="A model whose solutions of train rows are shown; the program's is what is tuned."),
]
WhichVersion = Annotated[
    str | None, typer.Option("--version", help="A number, `latest`, a label or a hash; without it the untuned program.")
]
By = Annotated[str | None, typer.Option(help="Who does it, which is kept; by default the user of this machine.")]
Why = Annotated[str, typer.Option(help="Kept with what is done.")]


def who(by: str | None) -> str:
    """Return who is at work, as far as this machine knows."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return "unknown"
