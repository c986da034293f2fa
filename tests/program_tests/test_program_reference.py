from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dspex_ray.errors import ProgramError
from dspex_ray.programs.program_ref import load_program, program_from_state

SOURCE = """
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema

class Text(Schema):
    text: str

class Echo(Program):
    Input = Text
    Output = Text

class Plain:
    pass

made = Echo()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "echoing_program.py").write_text(SOURCE)
    (tmp_path / "echo_package").mkdir()
    (tmp_path / "echo_package" / "inner.py").write_text(SOURCE)
    before, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.startswith(("echo", "broken")):
            del sys.modules[name]


def _fault(path: str, folder: Path) -> str:
    with pytest.raises(ProgramError) as caught:
        load_program(path, search=folder)
    return str(caught.value)


def test_a_program_is_found_in_a_module_and_in_a_package(folder: Path) -> None:
    assert load_program("echoing_program:Echo", search=folder).__name__ == "Echo"
    assert load_program("echo_package.inner:Echo", search=folder)().path == "echo_package.inner:Echo"


def test_the_current_directory_is_searched_by_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_program("echoing_program:Echo").__module__ == "echoing_program"
    assert str(folder) in sys.path


def test_a_saved_state_finds_its_class(folder: Path) -> None:
    program = load_program("echoing_program:Echo", search=folder)()
    again = program_from_state(program.state(), search=folder)
    assert type(again) is type(program)
    with pytest.raises(ProgramError, match="state is an object"):
        program_from_state(None)


@pytest.mark.parametrize("path", ["echoing_program", "echoing_program:", ":Echo", "a b:Echo", "x:1", ""])
def test_another_form_is_refused_with_the_right_one(path: str, folder: Path) -> None:
    assert "named as module:Class, such as examples.banking:Route" in _fault(path, folder)


def test_a_file_path_is_answered_with_the_module(folder: Path) -> None:
    assert "write it as a module: echo_package.inner:Echo" in _fault("./echo_package/inner.py:Echo", folder)


def test_an_unknown_module_is_answered_with_near_ones(folder: Path) -> None:
    text = _fault("echoing_progam:Echo", folder)
    assert "No module 'echoing_progam'" in text
    assert "did you mean 'echoing_program'?" in text
    assert "No module 'echo_package.iner'" in _fault("echo_package.iner:Echo", folder)


def test_a_module_that_fails_shows_its_own_error(folder: Path) -> None:
    (folder / "broken_import.py").write_text("x = 1\nimport no_such_library_at_all\n")
    text = _fault("broken_import:Echo", folder)
    assert "ModuleNotFoundError: No module named 'no_such_library_at_all'" in text
    assert "broken_import.py, line 2" in text
    (folder / "broken_syntax.py").write_text("x = (\n")
    assert "does not compile" in _fault("broken_syntax:Echo", folder)
    (folder / "broken_exit.py").write_text("raise SystemExit(3)\n")
    assert "SystemExit: 3" in _fault("broken_exit:Echo", folder)


def test_an_absent_class_is_answered_with_the_programs_there(folder: Path) -> None:
    text = _fault("echoing_program:Ecko", folder)
    assert "has no 'Ecko' (did you mean 'Echo'?). Programs in it: 'Echo'." in text


@pytest.mark.parametrize(
    ("name", "message"),
    [("Plain", "not a Program subclass"), ("made", "is an instance; give its class"), ("Program", "is Program itself")],
)
def test_what_is_no_program_class_is_refused(name: str, message: str, folder: Path) -> None:
    assert message in _fault(f"echoing_program:{name}", folder)


def test_a_search_directory_that_is_none_is_refused(folder: Path) -> None:
    assert "does not exist" in _fault("echoing_program:Echo", folder / "nope")
