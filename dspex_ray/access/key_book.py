"""`KeyBook`: creates, rotates and revokes keys in the store, each change with its entry in the audit record."""

from __future__ import annotations

from dataclasses import replace

from dspex_agents.database import Database
from dspex_ray.access.audit import Action
from dspex_ray.access.key_ring import KeyRing
from dspex_ray.access.keys import ApiKey, IssuedKey, KeyGrant, issued, rotated
from dspex_ray.access.limits import Limits
from dspex_ray.store import access_keys, audit_log

OVERLAP_S = 86_400.0
"""How long a replaced secret works by default: a day."""


class KeyBook:
    """The keys of one store. `by` is who acts, `now` seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, grant: KeyGrant, *, by: str, now: float) -> IssuedKey:
        """Keep a new key and return it with its secret, which nobody can tell again.

        Raises ConfigurationError for one that would be expired from the beginning.
        """
        made = issued(grant, now)
        with self._database.transaction() as connection:
            access_keys.put(connection, made.key)
            audit_log.append(connection, _told(by, "create", made.key, now), now)
        return made

    def listed(self, tenant: str | None = None) -> list[ApiKey]:
        """Return the keys of a tenant, or all, oldest first."""
        with self._database.read() as connection:
            return access_keys.listed(connection, tenant)

    def rotate(self, id_: str, *, by: str, now: float, overlap_s: float = OVERLAP_S) -> IssuedKey:
        """Give a key a new secret; the old one works for another `overlap_s` seconds.

        Raises UnknownNameError for a key that is not there, ConfigurationError for one that is revoked or expired.
        """
        with self._database.transaction() as connection:
            made = rotated(access_keys.named(connection, id_), now, overlap_s)
            access_keys.put(connection, made.key)
            audit_log.append(connection, _told(by, "rotate", made.key, now), now)
        return made

    def revoke(self, id_: str, *, by: str, now: float, why: str = "") -> ApiKey:
        """End a key for good, at once where replicas hear of it. One that is revoked stays as it is.

        Raises UnknownNameError for a key that is not there.
        """
        with self._database.transaction() as connection:
            key = access_keys.named(connection, id_)
            if key.revoked_at is not None:
                return key
            key = replace(key, revoked_at=now, secrets=())
            access_keys.put(connection, key)
            told = Action(by=by, action="key.revoke", subject=id_, details={"tenant": key.grant.tenant, "why": why})
            audit_log.append(connection, told, now)
        return key

    def limit_tenant(self, tenant: str, limits: Limits, *, by: str, now: float) -> None:
        """Set what all callers of a tenant may take together. Raises ConfigurationError for a bad name."""
        KeyGrant(tenant=tenant)
        with self._database.transaction() as connection:
            access_keys.put_tenant(connection, tenant, limits)
            told = Action(by=by, action="tenant.limit", subject=tenant, details=limits.to_json())
            audit_log.append(connection, told, now)

    def tenants(self) -> dict[str, Limits]:
        """Return the limits of all tenants that have some."""
        with self._database.read() as connection:
            return access_keys.tenants(connection)

    def ring_unless(self, mark: int) -> tuple[int, KeyRing] | None:
        """Return all keys and tenants with a new mark, None if nothing was changed since `mark`; begin with -1.

        Cheap to ask often: the mark is the number of the last management action.
        """
        with self._database.read() as connection:
            last = audit_log.head(connection).number  # first: what is changed meanwhile is found the next time
            if last == mark:
                return None
            return last, KeyRing(access_keys.listed(connection), access_keys.tenants(connection))

    def ring(self) -> KeyRing:
        """Return all keys and tenants as of now, for the gates of replicas."""
        with self._database.read() as connection:
            return KeyRing(access_keys.listed(connection), access_keys.tenants(connection))


def _told(by: str, what: str, key: ApiKey, now: float) -> Action:
    details = {name: value for name, value in key.to_json(now).items() if name not in ("id", "status", "created_at")}
    return Action(by=by, action=f"key.{what}", subject=key.id, details=details)
