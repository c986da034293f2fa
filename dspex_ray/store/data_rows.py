"""Which inputs a data set held, by its fingerprint: kept once however many versions were made of it."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_ray.store.version_tables import data_rows

_MOST_SOURCE = 500


def keep(connection: Connection, fingerprint: str, source: str, inputs: Sequence[str]) -> None:
    """Keep the ids of a data set's inputs, unless they are kept already."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE data_rows IN EXCLUSIVE MODE"))
    known = sa.select(data_rows.c.fingerprint).where(data_rows.c.fingerprint == fingerprint)
    if connection.execute(known).scalar() is None:
        told = source.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:_MOST_SOURCE]
        values = {"fingerprint": fingerprint, "source": told, "inputs": " ".join(inputs)}
        connection.execute(data_rows.insert().values(values))


def load(connection: Connection, fingerprint: str) -> frozenset[str] | None:
    """Return the ids of a data set's inputs; None if they were never kept."""
    found = connection.execute(sa.select(data_rows.c.inputs).where(data_rows.c.fingerprint == fingerprint)).scalar()
    return None if found is None else frozenset(found.split())
