"""`load_program`: a program from `module:name`, with errors that say what is wrong and what would be right."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from dspex_ray.errors import ProgramError, UnknownNameError
from dspex_ray.modules import Strategy
from dspex_ray.modules.recipe import Recipe
from dspex_ray.problems import near, one_of, shown
from dspex_ray.programs.program import Program

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MADE = re.compile(r"(?P<kind>[A-Za-z_]\w*)\((?P<signature>.*->.*)\)")
_DEEPEST = 3
_MOST_MODULES = 2000


def load_program(path: str, *, search: str | os.PathLike[str] | None = None) -> type[Program]:
    """Return the program class `module:Class` names, imported from `search` (by default the current directory).

    The directory is put first on `sys.path` and stays there, so that the module's own imports work. Raises
    ProgramError for another form, a module that is not there or fails while it is imported, and a class that is not
    there or is no Program.
    """
    found = _found(path, search)
    if not (isinstance(found, type) and issubclass(found, Program)):
        kind = (
            "an instance; give its class" if isinstance(found, Program) else f"{shown(found)}, not a Program subclass"
        )
        raise ProgramError(f"{path} is {kind}.")
    if found is Program:
        raise ProgramError(f"{path} is Program itself; give a subclass of it.")
    return found


def load_instance(path: str, *, search: str | os.PathLike[str] | None = None) -> Program:
    """Return the program a path names: `module:Class` made new, `module:name` of one that a module holds.

    How a module was made is a path too: `question -> answer` asks once, `ChainOfThought(question -> answer)` by that
    strategy. Raises ProgramError as `load_program` does.
    """
    if "->" in path:
        return _made(path)
    found = _found(path, search)
    return found if isinstance(found, Program) else load_program(path, search=search)()


def _made(path: str) -> Program:
    named = _MADE.fullmatch(path.strip())
    kind, signature = (named["kind"], named["signature"]) if named else ("Predict", path)
    home = importlib.import_module(Strategy.__module__.rpartition(".")[0])
    known = {name: found for name in home.__all__ if _takes_signature(found := getattr(home, name))}
    if kind not in known:
        raise ProgramError(str(UnknownNameError("module", kind, known)))
    program: Program = known[kind](signature)
    return program


def _takes_signature(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Strategy) and found is not Strategy


def _found(path: str, search: str | os.PathLike[str] | None) -> Any:
    if not _FORM.fullmatch(str(path)) or str(path).partition(":")[0].endswith(".py"):
        raise ProgramError(_bad_form(path))
    folder = Path(search) if search is not None else Path.cwd()
    if not folder.is_dir():
        raise ProgramError(f"The directory {folder} to look for {path} in does not exist.")
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.insert(0, entry)
    module_name, _, class_name = path.partition(":")
    return _attribute(_imported(module_name, folder), module_name, class_name)


def program_from_state(state: Any, *, search: str | os.PathLike[str] | None = None) -> Program:
    """Return the program of a `Program.state()`, its class found or made by what is in it. Raises ProgramError."""
    if not isinstance(state, dict) or "program" not in state:
        raise ProgramError(f"A program's state is an object with 'program' and 'values', got {shown(state)}.")
    if "made" in state:
        return Recipe.made_again(state["made"]).with_state(state)
    return load_program(state["program"], search=search).from_state(state)


def _bad_form(path: Any) -> str:
    text = str(path)
    stem, _, name = text.partition(":")
    if stem.endswith(".py") or "/" in stem:
        dotted = stem.removesuffix(".py").strip("./").replace("/", ".")
        return f"{text!r} is a file path; write it as a module: {dotted}:{name or '<Class>'}."
    return f"A program is named as module:Class, such as examples.banking:Route, got {text!r}."


def _imported(name: str, folder: Path) -> Any:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            known = _modules(folder)
            listed = f" Modules there: {one_of(known)}." if known else ""
            msg = f"No module {name!r} in {folder} or on the import path{near(name, known)}.{listed}"
            raise ProgramError(msg) from error
        raise ProgramError(_failed(name, error)) from error
    except (Exception, SystemExit) as error:
        raise ProgramError(_failed(name, error)) from error


def _failed(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"Module {name} does not compile: {error.msg} ({error.filename}, line {error.lineno})."
    own = [
        f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename and f.filename != __file__
    ]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"Module {name} fails while it is imported: {type(error).__name__}: {error}{place}."


def _attribute(module: Any, module_name: str, class_name: str) -> Any:
    found = module
    for part in class_name.split("."):
        if not hasattr(found, part):
            programs = [
                name for name, value in inspect.getmembers(module, inspect.isclass)
                if issubclass(value, Program) and value is not Program
            ]  # fmt: skip
            listed = f" Programs in it: {one_of(programs)}." if programs else " It holds no program."
            raise ProgramError(f"Module {module_name} has no {class_name!r}{near(class_name, programs)}.{listed}")
        found = getattr(found, part)
    return found


def _modules(folder: Path) -> list[str]:
    """Return the dotted names of the modules in a directory, a few levels deep, for near matches."""
    names: list[str] = []
    for root, folders, files in os.walk(folder):
        parts = Path(root).relative_to(folder).parts
        folders[:] = (
            sorted(f for f in folders if f.isidentifier() and f != "__pycache__") if len(parts) < _DEEPEST else []
        )
        stems = [file.removesuffix(".py") for file in sorted(files) if file.endswith(".py")]
        names.extend(".".join((*parts, stem)) for stem in stems if stem.isidentifier() and stem != "__init__")
        if len(names) > _MOST_MODULES:
            break
    return names
