"""One side in a process of its own: a function and its arguments a line in, its figures a line out."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Figures = dict[str, Any]
_END_WITHIN_S = 10.0
_ROOT = Path(__file__).parents[1]


class Side:
    """The functions of one module, named from this folder on, called in a process that has nothing else in it."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "side", module],
            cwd=Path(__file__).parent,
            env={
                **os.environ,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched, by DSPy neither
                "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),  # the examples
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: str, **arguments: Any) -> Figures:
        """Return what the function returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended in {function}({arguments})")
        figures: Figures = json.loads(line)
        return figures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _serve(module: Any) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is not an answer
    for line in sys.stdin:
        function, arguments = json.loads(line)
        print(json.dumps(getattr(module, function)(**arguments)), file=answers, flush=True)


if __name__ == "__main__":
    _serve(importlib.import_module(sys.argv[1]))
