"""`served`: what `import_path` names in Ray Serve's own config file, for `serve deploy` and KubeRay's RayService."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from dspex_ray.lm.resolve import resolve_lm
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program import Program
from dspex_ray.programs.program_ref import load_instance, program_from_state
from dspex_ray.serving.address import check_name, check_replicas
from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.cluster_ledger import (
    LedgerLender,
    LedgerMeterFactory,
    LedgerSinkFactory,
    LedgerTrafficFactory,
    ensure_ledger,
)
from dspex_ray.serving.deploy import _deployment
from dspex_ray.serving.deployment import UNTUNED
from dspex_ray.serving.program_service import pack_program
from dspex_ray.store import Store, open_store
from dspex_ray.tracing.joining import settings_to_send
from dspex_ray.traffic.control import EndpointTraffic

_Replicas = Annotated[int, Field(strict=True, ge=1)]


class Served(BaseModel):
    """The `args` of an application: they mean what the same options of `dspex deploy` mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    program: str
    name: str
    version: str | None = None
    replicas: tuple[_Replicas, _Replicas] = (1, 4)


def served(args: Mapping[str, Any]) -> serve.Application:
    """Return the application that `args`, those of Served, describe; `name` must be the application's in the config.

    Called by Serve on the cluster; the store is that of `DSPEX_STORE` there. Raises pydantic's ValidationError with
    every wrong argument, and what `dspex deploy` raises for a program, version or name that cannot be.
    """
    asked = Served.model_validate(dict(args))
    check_name(asked.name)
    check_replicas(asked.replicas)
    store = open_store()
    program, version = chosen(asked, store)
    resolve_lm(program.lm_name)
    ledger = ensure_ledger(store)
    traffic = EndpointTraffic(asked.name, store)
    traffic.deployed(program.path, version)  # before the replicas: nobody is there to say when they answer
    limits = ServingLimits()
    return _deployment(asked.replicas, limits).bind(
        pack_program(program),
        Parcel.of(LedgerSinkFactory(ledger, settings_to_send())),
        asked.name,
        version,
        limits,
        Parcel.of(LedgerLender(ledger)),
        Parcel.of(LedgerMeterFactory(ledger)),
        Parcel.of(LedgerTrafficFactory(ledger, program.path, traffic.revision)),
    )


def chosen(asked: Served, store: Store) -> tuple[Program, str]:
    """Return the program, tuned as the version that is asked for, and the version's name."""
    program = load_instance(asked.program)
    if asked.version is None:
        return program, UNTUNED
    kept = store.version(program.path, asked.version)
    return program_from_state(kept.state), str(kept.number)
