"""Optimisations of `SortMail` by command, as jobs, from a terminal or in one process; and what each found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_head import BIN, RayHead, processes_with

from dspex_agents.database import Database
from dspex_coordination import SweepStore

TRIALS = {"beacon_programs": 24, "reflective": 8, "bootstrap_few_shot": 8}
_SAME = ("score", "low", "high", "baseline", "trials", "failed_trials", "cost_usd", "values")


@dataclass(frozen=True)
class Searches:
    """Where they run: the cluster, a folder with the data, and the store that all share."""

    head: RayHead
    folder: Path
    url: str

    @property
    def store(self) -> SweepStore:
        return SweepStore(Database(self.url))

    def start(self, *words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [str(BIN / words[0]), *words[1:]]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.head.environment, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, *words: str) -> str:
        return ended(self.start(*words))

    def command(self, optimizer: str, *more: str) -> list[str]:
        fixed = ["--data", str(self.folder / "mail.csv"), "--seed", "3", "--workers", "3", "--lm", "openai/simulated"]
        searched = ["--optimizer", optimizer, "--trials", str(TRIALS[optimizer])]
        return ["dspex", "optimize", "sorted_mail:SortMail", *fixed, *searched, *more]

    def submit(self, command: Sequence[str], *more: str) -> subprocess.Popen[str]:
        return self.start("ray", "job", "submit", "--address", self.head.dashboard, *more, "--", *command)

    def id_of(self, optimizer: str) -> str | None:
        """Return the newest run of an optimizer."""
        found = [one.run_id for one in self.store.list_sweeps() if one.config["optimizer"] == optimizer]
        return found[0] if found else None

    def rows(self, optimizer: str) -> int:
        run_id = self.id_of(optimizer)
        return 0 if run_id is None else self.store.load(run_id).rows

    def kill_driver(self) -> None:
        """End the process of `dspex optimize` on the cluster with SIGKILL."""
        found = [number for number, words in processes_with(str(self.head.session)) if _is_driver(words)]
        assert len(found) == 1, found
        os.kill(found[0], signal.SIGKILL)


def _is_driver(words: list[str]) -> bool:
    return len(words) > 2 and words[1].endswith("/dspex") and words[2] == "optimize"


def ended(process: subprocess.Popen[str], timeout_s: float = 150.0) -> str:
    """Return what a command wrote, once it has succeeded."""
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, (process.args, out[-3000:], err[-3000:])
    return out


def result_in(text: str) -> dict[str, Any]:
    """Return the result of `dspex optimize --json` in the log of its job."""
    (line,) = (line for line in text.splitlines() if line.startswith('{"run_id"'))
    result: dict[str, Any] = json.loads(line)
    return result


def essence(result: dict[str, Any], store: SweepStore) -> dict[str, Any]:
    """Return what the run found and all that led there, without times."""
    run_id = result["run_id"]
    trials = [
        (
            trial.number,
            trial.split,
            trial.candidate.to_json(),
            sorted((row.result.row, row.result.score) for row in store.rows(run_id, trial.number)),
        )
        for trial in store.trials(run_id)
    ]
    chosen = [(one["trial"], one["values"]) for one in result["pareto"]]
    return {name: result[name] for name in _SAME} | {"chosen": chosen, "trials_told": trials}
