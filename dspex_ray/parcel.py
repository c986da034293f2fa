"""A program packed for another process, with the folders its code is imported from."""

from __future__ import annotations

import importlib.machinery
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from dspex_ray.errors import ProgramError


@dataclass(frozen=True, slots=True)
class Parcel:
    """An object as bytes, and the import path the sender had.

    A class from `__main__`, or from a module that cannot be found on the import path, travels by value. Any other
    class travels by reference: the receiving process imports it from `search_path`. The bytes are a pickle, so
    open only parcels from a sender you trust.
    """

    content: bytes
    search_path: tuple[str, ...]
    label: str

    @classmethod
    def of(cls, obj: Any, search_path: Sequence[str] | None = None) -> Parcel:
        """Pack `obj`; `search_path` is by default what `own_search_path()` says about this process.

        Raises ProgramError when the object holds something that cannot be packed, such as an open connection.
        """
        named = obj if isinstance(obj, type | FunctionType) else type(obj)
        label = f"{named.__module__}:{named.__qualname__}"
        folders = (
            own_search_path() if search_path is None else tuple(str(Path(entry).resolve()) for entry in search_path)
        )
        try:
            with _by_value(_modules_out_of_reach(named)):
                content = cloudpickle.dumps(obj)
        except Exception as error:  # pickling runs any class's own code, which may raise anything
            msg = (
                f"{label} cannot be sent to another process: {error}. Keep connections, locks and open files out of "
                "its attributes, or create them on first use."
            )
            raise ProgramError(msg) from error
        return cls(content, folders, label)

    def open(self) -> Any:
        """Unpack the object, after adding `search_path` to `sys.path` in the sender's order.

        Raises ProgramError when the object's module cannot be imported here or its own code refuses to be restored.
        """
        missing = [folder for folder in self.search_path if folder not in sys.path]
        sys.path[:0] = missing
        try:
            return cloudpickle.loads(self.content)
        except ModuleNotFoundError as error:
            msg = (
                f"{self.label} needs the module {error.name!r}, which cannot be imported in this process. Install the "
                "package that holds it on every machine of the cluster, or ship its folder with the job "
                "(`ray job submit --working-dir ...`)."
            )
            raise ProgramError(msg) from error
        except Exception as error:  # unpickling runs any class's own code, which may raise anything
            msg = f"{self.label} cannot be restored in this process: {type(error).__name__}: {error}"
            raise ProgramError(msg) from error


def own_search_path() -> tuple[str, ...]:
    """Return this process's import folders, without Python's own library and installed packages."""
    installed = {Path(folder).resolve() for folder in (*site.getsitepackages(), site.getusersitepackages())}
    installed |= {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders = [Path(entry or ".").resolve() for entry in sys.path]
    kept = [folder for folder in folders if folder.is_dir() and installed.isdisjoint((folder, *folder.parents))]
    return tuple(dict.fromkeys(str(folder) for folder in kept))


def _modules_out_of_reach(named: type | FunctionType) -> list[ModuleType]:
    """Return the modules of a function, or a class and its bases, that another process could not import by name."""
    owners = named.__mro__ if isinstance(named, type) else (named,)
    names = {owner.__module__ for owner in owners} - {"builtins", "__main__"}
    return [sys.modules[name] for name in sorted(names) if name in sys.modules and not _can_be_found(name)]


def _can_be_found(module_name: str) -> bool:
    """Say whether an import of the module would find it, without running any of its code."""
    path: Sequence[str] | None = None
    parts = module_name.split(".")
    for depth in range(1, len(parts) + 1):
        try:
            found = _find_spec(".".join(parts[:depth]), path)
        except KeyError:  # a namespace package inside one that is not imported has no path yet
            return False
        if found is None:
            return False
        path = found.submodule_search_locations
    return True


def _find_spec(module_name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    specs = (finder.find_spec(module_name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


@contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
