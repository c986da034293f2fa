"""Objects packed for another process: opened here in a fresh interpreter."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dspex_ray.errors import ProgramError
from dspex_ray.parcel import Parcel, own_search_path

OPEN = """
import pickle, sys
parcel = pickle.loads(open(sys.argv[1], "rb").read())
print(parcel.open().greet())
"""

MODULE = """
class Greeter:
    def __init__(self, word):
        self.word = word
    def greet(self):
        return self.word + " from " + type(self).__module__
"""

SCRIPT = """
import pickle, sys
from dspex_ray.parcel import Parcel
{source}
parcel = Parcel.of(Greeter("hi"))
open(sys.argv[1], "wb").write(pickle.dumps(parcel))
"""


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code as a script in its own folder, so that the class in it is one of `__main__`."""
    script = cwd / "run_me.py"
    script.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, cwd=cwd, timeout=50, check=False
    )


def opened(parcel_file: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    cwd.mkdir(exist_ok=True)
    return python(OPEN, str(parcel_file), cwd=cwd)


def test_a_class_of_a_script_travels_by_value(tmp_path: Path) -> None:
    file = tmp_path / "parcel"
    packed = python(SCRIPT.format(source=MODULE), str(file), cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    (tmp_path / "run_me.py").unlink()
    assert opened(file, tmp_path / "elsewhere").stdout.strip() == "hi from __main__"


def test_an_importable_class_travels_by_reference_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "greeters.py").write_text(MODULE, encoding="utf-8")
    file = tmp_path / "parcel"
    packed = python(SCRIPT.format(source="from greeters import Greeter"), str(file), cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    assert opened(file, tmp_path / "elsewhere").stdout.strip() == "hi from greeters"


def test_an_absent_module_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "greeters.py").write_text(MODULE, encoding="utf-8")
    file = tmp_path / "parcel"
    assert python(SCRIPT.format(source="from greeters import Greeter"), str(file), cwd=tmp_path).returncode == 0
    (tmp_path / "greeters.py").unlink()
    failed = opened(file, tmp_path / "elsewhere")
    assert failed.returncode == 1
    assert "ProgramError: greeters:Greeter needs the module 'greeters'" in failed.stderr
    assert "--working-dir" in failed.stderr


def test_a_class_of_a_module_out_of_reach_travels_by_value(tmp_path: Path) -> None:
    source = (
        "import types\nmodule = sys.modules['made_up'] = types.ModuleType('made_up')\n"
        f"exec({MODULE!r}, module.__dict__)\nGreeter = module.Greeter"
    )
    file = tmp_path / "parcel"
    packed = python(SCRIPT.format(source=source), str(file), cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    assert opened(file, tmp_path / "elsewhere").stdout.strip() == "hi from made_up"


class Holder:
    def __init__(self, inside: object) -> None:
        self.inside = inside


def test_what_cannot_travel_is_refused_with_the_class_named() -> None:
    with pytest.raises(ProgramError, match=r"Holder cannot be sent to another process: .*lock"):
        Parcel.of(Holder(threading.Lock()))


def test_a_parcel_survives_pickling_and_opens_to_an_equal_object() -> None:
    parcel = pickle.loads(pickle.dumps(Parcel.of({"a": [1, 2]}, search_path=[])))
    assert parcel.open() == {"a": [1, 2]}
    assert parcel.label == "builtins:dict"


def test_opening_adds_only_missing_folders_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, first, second = (tmp_path / name for name in ("known", "first", "second"))
    monkeypatch.setattr(sys, "path", [str(known), *sys.path])
    before = list(sys.path)
    Parcel.of(1, search_path=[str(first), str(known), str(second)]).open()
    assert sys.path == [str(first), str(second), *before]


def test_the_own_search_path_leaves_out_what_every_interpreter_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "absent"), *sys.path])
    found = own_search_path()
    assert found[0] == str(tmp_path.resolve())
    assert not [folder for folder in found if "site-packages" in folder or folder.endswith(".zip")]
    assert str(tmp_path / "absent") not in found
    assert all(Path(folder).is_absolute() for folder in found)


def test_damaged_content_is_an_error_of_ours() -> None:
    whole = Parcel.of(list(range(100)))
    with pytest.raises(ProgramError, match="cannot be restored"):
        Parcel(whole.content[:20], (), whole.label).open()
