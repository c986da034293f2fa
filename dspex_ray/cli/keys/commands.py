"""`dspex keys create | list | rotate | revoke`."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from dspex_agents.clock import SystemClock
from dspex_ray.access.key_book import KeyBook
from dspex_ray.access.keys import ApiKey, IssuedKey, KeyGrant
from dspex_ray.access.limits import Limits
from dspex_ray.cli.audit.cells import plain
from dspex_ray.cli.keys.options import Burst, Concurrent, KeyId, Rate, UsdPerDay
from dspex_ray.cli.options import By, Debug, Json, StoreUrl, Why, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError
from dspex_ray.store import open_store
from dspex_ray.terminal import err

_DAY_S, _HOUR_S = 86_400.0, 3_600.0
_MOST_DAYS = 36_500.0


def create(
    tenant: Annotated[str, typer.Option(help="Whose key it is.")] = "default",
    role: Annotated[
        list[str] | None, typer.Option(help="invoke, feedback, manage or audit; invoke by default. May be repeated.")
    ] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option(help="An endpoint it may call; all by default. May be repeated.")
    ] = None,
    expires_days: Annotated[float | None, typer.Option(help="Ends after so many days; never by default.")] = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    requests_per_second: Rate = None,
    burst: Burst = None,
    concurrent_requests: Concurrent = None,
    usd_per_day: UsdPerDay = None,
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a key and show it, this once: only a hash of it is kept."""
    now = SystemClock().now()
    grant = KeyGrant(
        tenant=tenant,
        roles=frozenset(role or ["invoke"]),  # type: ignore[arg-type]  # checked there
        endpoints=frozenset(endpoint) if endpoint else None,
        expires_at=None if expires_days is None else now + _span(expires_days, _DAY_S, "--expires-days"),
        note=note,
        limits=Limits(
            requests_per_second=requests_per_second,
            burst=burst,
            concurrent_requests=concurrent_requests,
            usd_per_day=usd_per_day,
        ),
    )
    _show(KeyBook(open_store(store).database).create(grant, by=who(by), now=now), now, json=json)
    tell_not_asked_for()


def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this one's; by default all.")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all keys, without their secrets."""
    now = SystemClock().now()
    found = KeyBook(open_store(store).database).listed(tenant)
    if json:
        print_json({"keys": [key.to_json(now) for key in found]})
        return
    if not found:
        out.print("No key is there. Make one: dspex keys create --tenant NAME", markup=False)
        return
    table = Table("id", "tenant", "roles", "endpoints", "status", "created", "expires", "limits", "note")
    for key in found:
        table.add_row(*(plain(cell) for cell in _cells(key, now)))
    out.print(table)


def rotate(
    key: KeyId,
    overlap_hours: Annotated[float, typer.Option(help="The old secret works for so many hours yet.")] = 24.0,
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Give a key a new secret and show it, this once; the old one works until the overlap is over."""
    now = SystemClock().now()
    overlap_s = _span(overlap_hours, _HOUR_S, "--overlap-hours")
    book = KeyBook(open_store(store).database)
    _show(book.rotate(key, by=who(by), now=now, overlap_s=overlap_s), now, json=json)


def revoke(
    key: KeyId,
    why: Why = "",
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """End a key for good."""
    now = SystemClock().now()
    ended = KeyBook(open_store(store).database).revoke(key, by=who(by), now=now, why=why)
    if json:
        print_json(ended.to_json(now))
        return
    out.print(f"Revoked {ended.id} of {ended.grant.tenant}.", markup=False)


def _show(made: IssuedKey, now: float, *, json: bool) -> None:
    if json:
        print_json({**made.key.to_json(now), "key": made.written})
        return
    for old in made.key.secrets[:-1]:
        out.print(f"Secrets before it work until {_time(old.ends_at)}.", markup=False)
    out.print("Keep this key: it is shown this once.", markup=False)
    out.print(made.written, markup=False, soft_wrap=True)


def _cells(key: ApiKey, now: float) -> list[str]:
    grant = key.grant
    return [
        key.id,
        grant.tenant,
        "\n".join(sorted(grant.roles)),
        "all" if grant.endpoints is None else "\n".join(sorted(grant.endpoints)),
        key.status(now),
        _time(key.created_at),
        _time(grant.expires_at),
        "\n".join(limits_told(grant.limits.to_json())) or "none",
        grant.note,
    ]


def tell_not_asked_for() -> None:
    """Say on standard error that no endpoint goes by keys and limits yet: nobody is to rely on them."""
    told = "Served endpoints do not ask for keys yet: they answer requests without one, and hold no limit of a key."
    err.print(told, style="yellow", markup=False, soft_wrap=True)


def limits_told(limits: dict[str, Any]) -> list[str]:
    """Return limits in words, one a line."""
    return [f"{value:g} {name.replace('_', ' ')}" for name, value in limits.items()]


def _time(at: float | None) -> str:
    return "never" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _span(given: float, unit_s: float, option: str) -> float:
    if not (math.isfinite(given) and 0 <= given * unit_s <= _MOST_DAYS * _DAY_S):
        raise UsageError(f"{option} must be 0 or more, and at most a hundred years, got {given:g}.")
    return given * unit_s
