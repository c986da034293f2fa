"""Ramps in the store: how far each got and what is known by then, so that another process can go on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Database, Migration
from dspex_ray.errors import UsageError
from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.store.plans import PLAN_MIGRATIONS, PlanRevision, keep_plan, number_in_force
from dspex_ray.traffic.ramp import ArmEvidence, Ramp, RampState

_metadata = sa.MetaData()
_ramps = sa.Table(
    "traffic_ramps",
    _metadata,
    sa.Column("endpoint", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("status", sa.String(20), nullable=False, index=True),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
)
RAMP_MIGRATIONS = (Migration("ramps-001-ramps", _metadata.create_all),)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRamp:
    """A ramp and where it is. `revision` is the plan that it put in force last: another one in force ends it.

    `evidence` is what its arms did since it began, `had` how many requests the new arm had when the present step began.
    """

    endpoint: str
    number: int
    revision: int
    by: str
    ramp: Ramp
    state: RampState
    evidence: Mapping[str, ArmEvidence] = field(default_factory=dict)
    had: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told = {name: getattr(self, name) for name in ("endpoint", "number", "revision", "by", "had")}
        evidence = {arm: asdict(one) for arm, one in self.evidence.items()}
        return {**told, "ramp": self.ramp.to_json(), "state": asdict(self.state), "evidence": evidence}


class RampStore:
    """The ramps of all endpoints of a store, beside their plans."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(PLAN_MIGRATIONS)
        database.migrate(RAMP_MIGRATIONS)

    def last(self, endpoint: str) -> KeptRamp | None:
        """Return the last ramp of an endpoint; None if it never had one."""
        with self._database.read() as connection:
            query = sa.select(_ramps).where(_ramps.c.endpoint == endpoint).order_by(_ramps.c.number.desc()).limit(1)
            row = connection.execute(query).mappings().first()
            return None if row is None else _read(row)

    def running(self) -> list[KeptRamp]:
        """Return every ramp that has not ended."""
        with self._database.read() as connection:
            query = sa.select(_ramps).where(_ramps.c.status == "running").order_by(_ramps.c.endpoint)
            return [_read(row) for row in connection.execute(query).mappings()]

    def number_in_force(self, endpoint: str) -> int:
        """Return the revision of the plan in force."""
        with self._database.read() as connection:
            return number_in_force(connection, endpoint)

    def begin(self, begun: KeptRamp, plan: PlanRevision, expected: int) -> KeptRamp:
        """Keep a ramp and put its first plan in force, both or neither, and return it as it is kept.

        Raises UsageError if `expected` is not the revision in force, or a ramp of the endpoint runs already.
        """
        with self._database.transaction() as connection:
            revision = keep_plan(connection, plan, expected).revision
            mine = _ramps.c.endpoint == begun.endpoint
            running = sa.select(_ramps.c.by).where(mine, _ramps.c.status == "running", _ramps.c.revision == expected)
            if (by := connection.execute(running).scalar()) is not None:
                raise UsageError(f"A ramp of {begun.endpoint}, begun by {by}, runs already; roll it back first.")
            number = int(connection.execute(sa.select(sa.func.max(_ramps.c.number)).where(mine)).scalar() or 0) + 1
            kept = replace(begun, number=number, revision=revision)
            connection.execute(_ramps.insert().values(_values(kept)))
            return kept

    def keep(self, ramp: KeptRamp, plan: PlanRevision | None = None) -> KeptRamp:
        """Keep how far a ramp got, with the plan of its next step if there is one; both or neither.

        Raises UsageError if another plan than the ramp's is in force by then.
        """
        with self._database.transaction() as connection:
            if plan is not None:
                ramp = replace(ramp, revision=keep_plan(connection, plan, ramp.revision).revision)
            _update(connection, ramp)
            return ramp


def _update(connection: Connection, ramp: KeptRamp) -> None:
    mine = _ramps.c.endpoint == ramp.endpoint, _ramps.c.number == ramp.number
    connection.execute(_ramps.update().where(*mine).values(_values(ramp)))


def _values(ramp: KeptRamp) -> dict[str, Any]:
    told = ramp.to_json()
    facts = {name: told[name] for name in ("ramp", "state", "evidence", "had")}
    named = {name: told[name] for name in ("endpoint", "number", "revision", "by")}
    return {**named, "status": ramp.state.status, "facts": json.dumps(facts)}


def _read(row: Any) -> KeptRamp:
    facts = json.loads(row["facts"])
    return KeptRamp(
        **{name: row[name] for name in ("endpoint", "number", "revision", "by")},
        ramp=Ramp.from_json(facts["ramp"]),
        state=RampState(**facts["state"]),
        evidence={arm: _evidence(one) for arm, one in facts["evidence"].items()},
        had=facts["had"],
    )


def _evidence(given: Mapping[str, Any]) -> ArmEvidence:
    measures = {name: Moments(**moments) for name, moments in given["measures"].items()}
    return ArmEvidence(answered=Counts(**given["answered"]), measures=measures)
