"""A program as JSON and back: what tells it from a fresh instance of its class, and never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dspex_ray.demos import DemoPool
from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.schema import plain_secrets, secret_fields

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program

P = TypeVar("P", bound="Program")


def state_of(program: Program, lm: str | None) -> dict[str, Any]:
    """Return the state of a program that names `lm` as its own model. Raises ProgramError as `Program.state` says."""
    _check_no_secret(program, program.demo_pool)
    pools = {path: pool for path, pool in program.part_pools.items() if len(pool)}
    for path, pool in pools.items():
        _check_no_secret(program.parts[path], pool)
    shown_from = program.demo_pool.to_json() if len(program.demo_pool) else None
    state = {"program": program.path, "values": dict(program.values), "demo_pool": shown_from, "lm": lm}
    if pools:
        state["part_pools"] = {path: pool.to_json() for path, pool in pools.items()}
    if program.instructions:
        state["instructions"] = dict(program.instructions)
    recipe = vars(type(program)).get("_recipe")
    return state if recipe is None else {**state, "made": recipe.to_json()}


def _check_no_secret(program: Program, pool: DemoPool) -> None:
    if not secret_fields(program.Input):
        return
    for example in pool.examples:
        if found := plain_secrets(program.Input.parse({**program.tuned_input, **example.input})):
            raise ProgramError(
                f"{program.path}: demonstration {example.id!r} holds a secret in {', '.join(map(repr, found))}, so the "
                "program cannot be saved. Name an environment variable there instead: 'env:NAME'."
            )


def restored(cls: type[P], state: Any) -> P:
    """Return the program of a state, an instance of its class. Raises ProgramError as `Program.from_state` says."""
    if not isinstance(state, Mapping) or not isinstance(state.get("values"), Mapping) or "program" not in state:
        raise ProgramError(f"A program's state is an object with 'program' and 'values', got {shown(state)}.")
    name = str(state["program"])
    if not hasattr(cls, "Input"):
        raise ProgramError(f"Call from_state on the program's class: load_program({name!r}).from_state")
    program = cls()
    if name != program.path and ("made" in state or name.rpartition(":")[2] != cls.__qualname__):
        raise ProgramError(f"This is the state of {name}, not of {program.path}.")
    program = program.with_values(state["values"]).with_lm(state.get("lm"))
    if texts := state.get("instructions"):
        program = program.with_instructions(texts)
    for path, pool in (state.get("part_pools") or {}).items():
        program = program.with_demo_pool(DemoPool.from_json(pool), path)
    shown_from = state.get("demo_pool")
    return program if shown_from is None else program.with_demo_pool(DemoPool.from_json(shown_from))
