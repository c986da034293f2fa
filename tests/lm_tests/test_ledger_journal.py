"""The journal of a process's calls: what a kill leaves of it, and who folds it."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from dspex_ray.calls import CallRecord
from dspex_ray.calls.journal import CallJournal, Row, fold, journal_folder
from dspex_ray.store import open_store


class Kept:
    """Rows that were folded, by id, and the holders that were dead."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.dead: list[str | None] = []

    def __call__(self, rows: list[Row], holder: str | None) -> None:
        self.rows.update({row["id"]: row for row in rows})
        self.dead.append(holder)


def intent(id_: str, **fields: Any) -> Row:
    return CallRecord(id=id_, at=1.0, program="a:A", model="m", status="unknown", **fields).as_row()


def outcome(id_: str, **fields: Any) -> Row:
    return CallRecord(id=id_, at=1.0, program="a:A", model="m", **fields).as_row()


def killed(folder: Path, body: str) -> None:
    """Run a process that writes a journal and ends without a word, as a kill would end it."""
    head = """
        import os, sys
        from pathlib import Path
        from dspex_ray.calls.journal import CallJournal
        journal = CallJournal(Path(sys.argv[1]), "dead")
        row = {"at": 1.0, "program": "a:A", "model": "m"}
    """
    code = textwrap.dedent(head) + textwrap.dedent(body) + "\nos.kill(os.getpid(), 9)\n"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False, timeout=30)
    assert done.returncode == -9


def test_a_killed_process_leaves_its_finished_calls_and_the_open_ones_as_unknown(tmp_path: Path) -> None:
    killed(
        tmp_path,
        """
        for name in ("done", "open"):
            journal.intend({**row, "id": name, "status": "unknown", "reserved_usd": 0.25})
        journal.outcome({**row, "id": "done", "status": "ok", "cost_usd": 0.5})
        """,
    )
    kept = Kept()
    assert fold(tmp_path, kept) == 2
    assert (kept.rows["done"]["status"], kept.rows["done"]["cost_usd"]) == ("ok", 0.5)
    assert (kept.rows["open"]["status"], kept.rows["open"]["reserved_usd"]) == ("unknown", 0.25)
    assert kept.dead == ["dead"]
    assert not list(tmp_path.glob("*.jsonl"))
    assert fold(tmp_path, kept) == 0


def test_a_line_that_was_cut_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    killed(tmp_path, 'journal.intend({**row, "id": "a", "status": "unknown"})')
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'\n{"id":"a","sta')
    kept = Kept()
    fold(tmp_path, kept)
    assert kept.rows["a"]["status"] == "unknown"


def test_the_journal_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    journal, kept = CallJournal(tmp_path, "alive"), Kept()
    journal.intend(intent("a"))
    assert fold(tmp_path, kept) == 0
    journal.outcome(outcome("a"))
    journal.close()
    assert fold(tmp_path, kept) == 1
    assert kept.rows["a"]["status"] == "ok"
    assert kept.dead == ["alive"]


def test_a_full_file_is_closed_and_its_open_calls_go_on_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspex_ray.calls.journal._LARGEST", 1000)
    told: list[bool] = []
    journal, kept = CallJournal(tmp_path, "alive", lambda: told.append(True)), Kept()
    journal.intend(intent("long"))
    for number in range(30):
        journal.intend(intent(f"c{number}"))
        journal.outcome(outcome(f"c{number}"))
    assert len(told) > 2
    assert fold(tmp_path, kept) > 0
    assert "long" not in kept.rows
    assert set(kept.dead) == {None}
    journal.outcome(outcome("long", cost_usd=1.0))
    journal.close()
    fold(tmp_path, kept)
    assert kept.rows["long"]["cost_usd"] == 1.0
    assert len(kept.rows) == 31
    assert kept.dead[-1] == "alive"


def test_a_journal_whose_rows_cannot_be_kept_stays_for_the_next_time(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path, "alive")
    journal.intend(intent("a"))
    journal.close()

    def full(_rows: list[Row], _holder: str | None) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fold(tmp_path, full)
    kept = Kept()
    assert fold(tmp_path, kept) == 1
    assert kept.rows["a"]["status"] == "unknown"


def test_a_journal_whose_calls_the_ledger_has_leaves_no_file(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path, "alive")
    journal.intend(intent("a"))
    journal.outcome(outcome("a", error="x" * 10_000))
    journal.close(is_kept=True)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_told_once_and_calls_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = CallJournal(tmp_path, "alive")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for number in range(20):
            journal.intend(intent(f"c{number}"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caplog.text.count("cannot be written any more") == 1


def test_journals_lie_beside_a_sqlite_file_else_in_a_folder_of_the_store_alone(tmp_path: Path) -> None:
    assert journal_folder(f"sqlite:///{tmp_path / 'a.db'}") == tmp_path / "a.db-journals"
    remote = [journal_folder(f"postgresql://u:secret@host/{name}") for name in ("a", "b")]
    assert remote[0] != remote[1]
    assert "secret" not in str(remote[0])
    assert journal_folder("sqlite:////nowhere/at/all.db").parent == remote[0].parent


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.lists(st.binary(max_size=40), max_size=5), cut=st.integers(0, 400))
def test_no_bytes_in_a_journal_keep_the_store_from_opening(tmp_path: Path, noise: list[bytes], cut: int) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    folder = journal_folder(url)
    journal = CallJournal(folder, "dead")
    journal.intend(intent("whole"))
    journal.intend(intent("cut"))
    journal.close()
    (path,) = folder.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(b"\n".join([whole[: max(len(whole) - cut, len(whole) // 2)], *noise]))
    store = open_store(url)
    assert store.totals().unknown in (1, 2)
    store.database.close()
    assert not list(folder.glob("*.jsonl"))
