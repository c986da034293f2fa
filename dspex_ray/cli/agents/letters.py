"""`dspex agents dead-letters`: messages that came to nothing; look at them, send them again, throw them away."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dspex_agents.clock import SystemClock
from dspex_agents.messaging.dead_letters import DeadLetter, DeadLetterFilter
from dspex_ray.cli.agents.inspection import moment
from dspex_ray.cli.agents.options import SystemName
from dspex_ray.cli.agents.shown import show
from dspex_ray.cli.agents.systems import chosen_system
from dspex_ray.cli.options import Debug, Json, RunningAddress
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError

_LONGEST = 200


def dead_letters(
    context: typer.Context,
    recipient: Annotated[str | None, typer.Option(help="Only those to this agent.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those whose reason has this in it.")] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Only those that first failed more than so many seconds ago.")
    ] = None,
    min_attempts: Annotated[int, typer.Option(min=0, help="Only those that were tried so many times.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most letters to show.")] = 100,
    redrive: Annotated[bool, typer.Option("--redrive", help="Send all that are meant again.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="Throw all that are meant away.")] = False,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the messages that were not taken, oldest first; or send them again, or throw them away."""
    if redrive and purge:
        raise UsageError("--redrive sends letters again and --purge throws them away; give one of the two.")
    which = DeadLetterFilter(
        recipient=recipient,
        reason_contains=reason,
        before=None if older_than is None else SystemClock().now() - older_than,
        min_attempts=min_attempts,
    )
    with chosen_system(context, system, address) as found:
        if redrive:
            _report("redriven", "Sent again", found.redrive(which), as_json=json)
        elif purge:
            _report("purged", "Thrown away", found.purge(which), as_json=json)
        else:
            _show(found.letter_previews(which, limit), as_json=json)


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """Return the letter, whose message is a preview, as JSON values."""
    return {
        "id": letter.id,
        "sender": letter.sender,
        "recipient": letter.recipient,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "first_failure_at": letter.first_failure_at,
        "last_failure_at": letter.last_failure_at,
        "message": letter.message,
    }


def _report(key: str, done: str, count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({key: count})
    else:
        out.print(f"{done}: {count} letter{'' if count == 1 else 's'}.")


def _show(letters: tuple[DeadLetter, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"dead_letters": [letter_json(letter) for letter in letters]})
        return
    if not letters:
        out.print("No dead letters.")
        return
    table = Table("id", "from", "to", "reason", "attempts", "first", "last", "message")
    for letter in letters:
        times = (moment(letter.first_failure_at), moment(letter.last_failure_at))
        names = (letter.id, letter.sender, letter.recipient)
        texts = (*names, letter.reason, str(letter.attempts), *times, letter.message)
        table.add_row(*(Text(text[:_LONGEST]) for text in texts))
    show(table)
