"""The name a program goes by in the store and on the command line."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program


def program_path(program_class: type[Program]) -> str:
    """Return `module:Class`; a script run directly goes by the name it can be imported under.

    A class that a module was made of has no name to be imported under: its path says how it was made.
    """
    recipe = vars(program_class).get("_recipe")
    if recipe is not None:
        return str(recipe.path)
    module = program_class.__module__
    return f"{_script() if module == '__main__' else module}:{program_class.__qualname__}"


@cache
def _script() -> str:
    """Return what the script that runs can be imported as."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return spec.name.removesuffix(".__main__") if spec else Path(file).stem if file else "__main__"
