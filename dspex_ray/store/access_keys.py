"""Keys and tenants' limits in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from dspex_agents.database import Migration
from dspex_ray.access.keys import PREFIX, ApiKey, KeyGrant, KeySecret
from dspex_ray.access.limits import Limits
from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.store.audit_log import create_audit_tables

_LONGEST_ID = 20
_metadata = sa.MetaData()
_keys = sa.Table(
    "access_keys",
    _metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("tenant", sa.String(100), nullable=False, index=True),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("endpoints", sa.Text),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("limits", sa.Text, nullable=False),
)
_secrets = sa.Table(
    "access_secrets",
    _metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("key_id", sa.String(12), nullable=False, index=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float),
)
_tenants = sa.Table(
    "access_tenants",
    _metadata,
    sa.Column("tenant", sa.String(100), primary_key=True),
    sa.Column("limits", sa.Text, nullable=False),
)


def _create(connection: Connection) -> None:
    _metadata.create_all(connection)
    create_audit_tables(connection)


ACCESS_MIGRATIONS = (Migration("access-001-keys-and-audit", _create),)


def put(connection: Connection, key: ApiKey) -> None:
    """Keep a key as it is now, in the place of what was known of it."""
    values = _row(key)
    mine = _keys.c.id == key.id
    if connection.execute(_keys.update().where(mine).values(values)).rowcount == 0:
        connection.execute(_keys.insert().values(values))
    connection.execute(_secrets.delete().where(_secrets.c.key_id == key.id))
    rows = [
        {"digest": one.digest.hex(), "key_id": key.id, "created_at": one.created_at, "ends_at": one.ends_at}
        for one in key.secrets
    ]
    if rows:
        connection.execute(_secrets.insert(), rows)


def named(connection: Connection, id_: str) -> ApiKey:
    """Return one key; nobody else changes it until the transaction ends.

    Raises UnknownNameError for one that is not there, ConfigurationError for what may be a secret.
    """
    id_ = id_.removeprefix(PREFIX)
    if len(id_) > _LONGEST_ID:  # not told again, since it may be a secret
        raise ConfigurationError("Name the key by its id, the 12 digits after `dspex_`, and keep its secret secret.")
    row = connection.execute(sa.select(_keys).where(_keys.c.id == id_).with_for_update()).mappings().first()
    if row is None:
        raise UnknownNameError("API key", id_, connection.scalars(sa.select(_keys.c.id)))
    return _key(row, _secrets_of(connection, [id_]).get(id_, ()))


def listed(connection: Connection, tenant: str | None = None) -> list[ApiKey]:
    """Return the keys of a tenant, or all, oldest first."""
    query = sa.select(_keys).order_by(_keys.c.created_at, _keys.c.id)
    if tenant is not None:
        query = query.where(_keys.c.tenant == tenant)
    rows = connection.execute(query).mappings().all()
    secrets = _secrets_of(connection, None)
    return [_key(row, secrets.get(row["id"], ())) for row in rows]


def put_tenant(connection: Connection, tenant: str, limits: Limits) -> None:
    """Set what all callers of a tenant may take together; without a cap, forget that there was one."""
    connection.execute(_tenants.delete().where(_tenants.c.tenant == tenant))
    if told := limits.to_json():
        connection.execute(_tenants.insert().values(tenant=tenant, limits=json.dumps(told)))


def tenants(connection: Connection) -> dict[str, Limits]:
    """Return the limits of all tenants that have some."""
    rows = connection.execute(sa.select(_tenants).order_by(_tenants.c.tenant))
    return {row.tenant: Limits.from_json(json.loads(row.limits)) for row in rows}


def _row(key: ApiKey) -> dict[str, Any]:
    grant = key.grant
    return {
        "id": key.id,
        "tenant": grant.tenant,
        "roles": json.dumps(sorted(grant.roles)),
        "endpoints": None if grant.endpoints is None else json.dumps(sorted(grant.endpoints)),
        "created_at": key.created_at,
        "expires_at": grant.expires_at,
        "revoked_at": key.revoked_at,
        "note": grant.note.replace("\0", "\ufffd").encode("utf-8", "replace").decode(),
        "limits": json.dumps(grant.limits.to_json()),
    }


def _key(row: RowMapping, secrets: Sequence[KeySecret]) -> ApiKey:
    endpoints = row["endpoints"]
    grant = KeyGrant(
        tenant=row["tenant"],
        roles=frozenset(json.loads(row["roles"])),
        endpoints=None if endpoints is None else frozenset(json.loads(endpoints)),
        expires_at=row["expires_at"],
        note=row["note"],
        limits=Limits.from_json(json.loads(row["limits"])),
    )
    return ApiKey(
        id=row["id"], grant=grant, created_at=row["created_at"], revoked_at=row["revoked_at"], secrets=tuple(secrets)
    )


def _secrets_of(connection: Connection, ids: Sequence[str] | None) -> dict[str, list[KeySecret]]:
    query = sa.select(_secrets).order_by(_secrets.c.created_at, _secrets.c.digest)
    if ids is not None:
        query = query.where(_secrets.c.key_id.in_(ids))
    found: dict[str, list[KeySecret]] = {}
    for row in connection.execute(query):
        secret = KeySecret(digest=bytes.fromhex(row.digest), created_at=row.created_at, ends_at=row.ends_at)
        found.setdefault(row.key_id, []).append(secret)
    return found
