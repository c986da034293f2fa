"""`dspex data export`: corrected and well rewarded answers as data that `dspex optimize --data` reads."""

from __future__ import annotations

import json as json_text
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import DataError, UnknownNameError, UsageError
from dspex_ray.evaluation_report.writing import require_place, write_text
from dspex_ray.feedback.training_rows import TrainingRows, training_rows
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.store import open_store


def export(
    endpoint: Annotated[str, typer.Argument(help="The endpoint whose requests were kept.")],
    output: Annotated[Path, typer.Option("--out", help="The .jsonl file to write.")],
    since: Annotated[str | None, typer.Option(help="Only requests since this day or time (UTC), 2026-05-01.")] = None,
    least_reward: Annotated[float, typer.Option(help="An answer nobody corrected needs this reward.")] = 1.0,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write inputs with their corrected or well rewarded outputs, one row an input."""
    place = require_place(output, (".jsonl",))
    if not 0 <= least_reward <= 1:
        raise UsageError(f"--least-reward is between 0 and 1, as rewards are, got {least_reward:g}.")
    requests = RequestStore(open_store(store).database)
    begin = 0.0 if since is None else _time(since)
    if endpoint not in (known := requests.endpoints()):
        raise UnknownNameError("endpoint with kept requests", endpoint, known)
    found = training_rows(requests.rows(endpoint, since=begin), least=least_reward)
    if not found.rows:
        raise DataError(_nothing(endpoint, found))
    write_text(place, "".join(json_text.dumps(row) + "\n" for row in found.rows))
    if json:
        told = {"file": str(place), "rows": len(found.rows), "corrected": found.corrected}
        print_json({**told, "requests": found.requests, "without_content": found.without_content})
        return
    out.print(
        f"Wrote {len(found.rows)} rows, {found.corrected} of them corrected, of {found.requests} requests to {place}.",
        markup=False,
        soft_wrap=True,
    )
    if found.without_content:
        out.print(f"{found.without_content} more have good feedback, but no input or output was kept.", markup=False)


def _nothing(endpoint: str, found: TrainingRows) -> str:
    if found.without_content:
        return (
            f"{found.without_content} requests of {endpoint} have good feedback, but their inputs and outputs were not "
            "kept: an endpoint keeps them only if it was asked to."
        )
    return f"None of {found.requests} requests of {endpoint} was corrected or has enough reward; nothing was written."


def _time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since is a day or time such as 2026-05-01 or 2026-05-01T12:30, got {text!r}.") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
