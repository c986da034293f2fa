"""Code that a model wrote is run within its bounds, and reaches nothing but its inputs and tools."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray.code_runner import CodeLimits, CodeRunner, MontyRunner, Ran
from dspex_ray.code_runner.printed import Printed
from dspex_ray.errors import ConfigurationError, ProgramError
from dspex_ray.tools import as_tool

pytest.importorskip("pydantic_monty", reason="the extra `code` is not installed")
SECRET = "the-secret-4711"
QUICK = CodeLimits(time_s=0.5)


def run(code: str, tools: Any = (), limits: CodeLimits = QUICK, **inputs: Any) -> Ran:
    return asyncio.run(MontyRunner().run(code, inputs, tools=[as_tool(one) for one in tools], limits=limits))


def test_code_gives_what_it_prints_and_the_value_of_its_last_expression() -> None:
    ran = run(
        "total = sum(prices)\nprint('total', total)\n{'total': total, 'seen': {2, 1}, 'pair': (1, 2)}", prices=[1, 2]
    )
    assert ran == Ran(stdout="total 3\n", value={"total": 3, "seen": [1, 2], "pair": [1, 2]})
    assert run("x = 1") == Ran()


def test_the_usual_modules_are_there() -> None:
    code = "import math, re, json, itertools, collections, datetime\nfrom decimal import Decimal\n"
    assert run(f"{code}[math.gcd(12, 8), re.findall('a', 'banana'), str(Decimal('0.1') + Decimal('0.2'))]").value == [
        4, ["a", "a", "a"], "0.3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("a = 1\nb = = 2", "SyntaxError"),
        ("def f(x):\n    return x / 0\nf(1)", "ZeroDivisionError"),
        ("price", "NameError: name 'price' is not defined"),
    ],
)
def test_an_error_of_the_code_is_told_with_its_line(code: str, said: str) -> None:
    error = run(code).error or ""
    assert said in error
    assert "line " in error


ESCAPES = [
    "open({path!r}).read()",
    "with open({path!r}, 'w') as f:\n    f.write('gone')",
    "from pathlib import Path\nPath({path!r}).read_text()",
    "from pathlib import Path\nPath({path!r}).unlink()",
    "from pathlib import Path\nlist(Path({path!r}).parent.iterdir())",
    "import os\nos.environ['DSPEX_TEST_SECRET']",
    "import os\nos.getenv('DSPEX_TEST_SECRET')",
    "import os\nos.listdir({folder!r})",
    "import os\nos.remove({path!r})",
    "import os\nos.system('cat ' + {path!r})",
    "import os\nos.popen('env').read()",
    "import subprocess\nsubprocess.check_output(['cat', {path!r}])",
    "import socket\nsocket.create_connection(('127.0.0.1', 80))",
    "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')",
    "import ctypes",
    "import importlib\nimportlib.import_module('os')",
    "import sys\nsys.modules",
    "import builtins",
    "__import__('os').environ",
    "__builtins__",
    "__loader__",
    "globals()['__builtins__']",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__[1].__subclasses__()",
    "getattr((), '__cl' + 'ass__').__base__",
    "type(1).__subclasses__(type)",
    "object.__subclasses__()",
    "(lambda: 0).__globals__",
    "(lambda: 0).__code__",
    "echo.__globals__",
    "echo.__class__.__init__.__globals__",
    "echo.function",
    "echo.arguments",
    "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame",
    "exec('import os\\nos.environ')",
    "eval('open({path!r})')",
    "compile('1', 'x', 'eval')",
    "'{{0.__class__}}'.format(1)",
    "breakpoint()",
    "input()",
    "help()",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_code_cannot_reach_files_environment_network_or_the_host(
    escape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(text: str) -> str:
        return text

    monkeypatch.setenv("DSPEX_TEST_SECRET", SECRET)
    file = tmp_path / "secret.txt"
    file.write_text(SECRET)
    ran = run(escape.format(path=str(file), folder=str(tmp_path)), tools=[echo])
    assert ran.error, ran
    assert SECRET not in repr(ran)
    assert [one.name for one in tmp_path.iterdir()] == ["secret.txt"]
    assert file.read_text() == SECRET


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True:\n    pass", "TimeoutError"),
        ("sum(range(10**12))", "TimeoutError"),
        ("[0] * 10**9", "MemoryError"),
        ("a = 'x'\nwhile True:\n    a += a", "MemoryError"),
        ("10 ** 10 ** 10", "MemoryError"),
        ("a = []\nwhile True:\n    a.append([a])", "MemoryError"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("a = []\nfor _ in range(100000):\n    a = [a]\na", "nests deeper"),
        ("a = ['ha']\nfor _ in range(40):\n    a = [a] * 10\na", "nests deeper than 100 levels or holds over 100,000"),
        ("s = 'x' * 5_000_000\n[s] * 90_000", "over 20,000,000 characters"),
        ("s = {'x' * 5_000_000: 1}\n[s] * 40_000", "over 20,000,000 characters"),
        ("10 ** 1_000_000", "cannot be told"),
        ("import re\nre.match('(a+)+$', 'a' * 40 + 'b')", None),
        ("import time\ntime.sleep(10000)", None),
    ],
)
def test_code_without_end_or_measure_is_stopped(code: str, said: str | None) -> None:
    began = time.monotonic()
    ran = run(code, limits=CodeLimits(time_s=0.5, memory_bytes=20 << 20))
    assert said is None or said in (ran.error or "")
    assert time.monotonic() - began < 8


def test_huge_output_is_cut_and_the_cut_is_said() -> None:
    bounds = CodeLimits(time_s=0.5, output_chars=100)
    ran = run("for i in range(5000):\n    print('x' * 100)\n'y' * 5000", limits=bounds)
    assert ran.stdout.startswith("x" * 99)
    assert "(cut: the first 100 of 505,000)" in ran.stdout
    assert str(ran.value).startswith("y" * 100 + "\n... (cut: the first 100 of 5,000 characters)")
    endless = run("while True:\n    print('x' * 1000)", limits=bounds)
    assert len(endless.stdout) < 200
    assert "TimeoutError" in (endless.error or "")
    assert len(run("raise ValueError('x' * 100000)", limits=bounds).error or "") < 200


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(1, 40))
def test_what_is_printed_is_kept_from_the_beginning_up_to_the_bound(pieces: list[str], most: int) -> None:
    printed = Printed(most)
    for piece in pieces:
        printed("stdout", piece)
    text = "".join(pieces)
    assert printed.text[:most] == text[:most]
    assert (printed.text == text) == (len(text) <= most)


def test_code_calls_tools_as_functions() -> None:
    async def convert(amount: float, currency: str = "eur") -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"amount": amount * 2, "currency": currency}

    def fails(why: str) -> str:
        raise ValueError(why)

    tools = [convert, fails]
    assert run("convert(2)['amount'] + convert(amount=1, currency='usd')['amount']", tools).value == 6
    assert run("f = convert\nf(3, 'usd')", tools).value == {"amount": 6, "currency": "usd"}
    assert (
        run("try:\n    fails('no')\nexcept RuntimeError as e:\n    text = str(e)\ntext", tools).value
        == "ValueError: no"
    )
    assert "amount: Input should be a valid number" in (run("convert('two')", tools).error or "")
    assert "convert takes 2 arguments, 3 were given" in (run("convert(1, 'a', 3)", tools).error or "")
    assert "NameError" in (run("convert_all(1)", tools).error or "")


def test_calls_of_tools_are_bounded_in_number_and_in_time() -> None:
    called = []

    def count(i: int) -> int:
        called.append(i)
        return i

    async def waits() -> None:
        await asyncio.Event().wait()

    ran = run("for i in range(100):\n    count(i)", [count], limits=CodeLimits(tool_calls=5))
    assert "at most 5 calls of tools" in (ran.error or "")
    assert called == [0, 1, 2, 3, 4]
    assert (
        run("waits()", [waits], limits=CodeLimits(wall_s=0.2)).error == "The code and its tools took longer than 0.2 s."
    )


def test_what_a_tool_lets_pass_is_raised() -> None:
    def fails() -> None:
        raise ConfigurationError("no key")

    with pytest.raises(ConfigurationError, match="no key"):
        run("try:\n    fails()\nexcept Exception:\n    pass", [fails])


def test_one_run_leaves_nothing_to_the_next_and_chance_is_the_same_in_each() -> None:
    async def scene() -> list[Ran]:
        runner = MontyRunner()
        codes = ["x = 1\nx", "x", *["import random\nrandom.random()"] * 30]
        return await asyncio.gather(*(runner.run(code, {}) for code in codes))

    first, second, *chance = asyncio.run(scene())
    assert first.value == 1
    assert "NameError" in (second.error or "")
    assert len({ran.value for ran in chance}) == 1
    assert isinstance(chance[0].value, float)


def test_a_run_that_is_cancelled_leaves_no_process(wait: Callable[..., None]) -> None:
    async def scene() -> bool:
        started = asyncio.Event()

        async def begin() -> None:
            started.set()

        endless = MontyRunner().run(
            "begin()\nwhile True:\n    pass", {}, tools=[as_tool(begin)], limits=CodeLimits(time_s=50)
        )
        task = asyncio.create_task(endless)
        await started.wait()
        assert len(_monty_processes()) == 1
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(scene())
    wait(lambda: not _monty_processes(), 10.0, "the end of the killed process")


def _monty_processes() -> list[str]:
    lists = list(Path("/proc/self/task").glob("*/children"))
    if not lists:
        pytest.skip("this system does not list the children of a process")
    pids = [pid for one in lists for pid in one.read_text().split()]
    return [pid for pid in pids if "monty" in Path(f"/proc/{pid}/comm").read_text()]


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_no_text_makes_the_runner_raise(code: str) -> None:
    assert isinstance(run(code), Ran)


def test_code_that_is_too_long_and_limits_that_are_none_are_refused() -> None:
    assert "at most 50,000 are run" in (run("x = 1\n" * 10_000).error or "")
    with pytest.raises(ProgramError, match="time_s, memory_bytes must be above 0"):
        CodeLimits(time_s=0, memory_bytes=-1)
    with pytest.raises(ProgramError, match="got 'a b'"):
        asyncio.run(MontyRunner().run("1", {"a b": 1}))


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'dspex-ray\[code\]'"):
        run("1")


def test_the_runner_keeps_the_contract() -> None:
    runner: CodeRunner = MontyRunner()
    assert isinstance(runner, CodeRunner)
    assert "math" in runner.told()


def test_the_calculations_of_gsm8k_come_out_as_annotated(shared_data: Path) -> None:
    """The data's own annotations, such as <<48/2=24>>: one program of all of a file's first ones."""
    files = sorted((shared_data / "gsm8k").rglob("*.jsonl"))
    if not files:
        pytest.skip(f"no JSON lines in {shared_data / 'gsm8k'}")
    rows = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()[:200]]
    pattern = re.compile(r"<<([0-9+\-*/(). ]+)=([0-9.]+)>>")
    found = [pair for row in rows for pair in pattern.findall(row["answer"])]
    sums = [(left.strip(), float(right)) for left, right in found if not re.search(r"(^|\D)0\d", left)]
    assert len(sums) > 200
    ran = run("[" + ", ".join(left for left, _ in sums) + "]")
    assert ran.error is None
    wrong = [
        pair for pair, value in zip(sums, ran.value, strict=True) if abs(pair[1] - value) > 0.01 * max(1, abs(value))
    ]
    assert len(wrong) <= len(sums) // 100  # a few annotations round
