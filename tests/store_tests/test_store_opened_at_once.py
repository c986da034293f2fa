"""A new store that several open at the same moment: none of them is told that it is locked."""

from __future__ import annotations

import threading
from pathlib import Path

from dspex_agents.database import Database
from dspex_coordination import SweepStore

ROUNDS, AT_ONCE = 80, 4


def opened_at_once(path: Path) -> list[Exception]:
    together, failures = threading.Barrier(AT_ONCE), list[Exception]()

    def work() -> None:
        database = Database(str(path))
        together.wait()
        try:
            SweepStore(database)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_a_new_store_that_several_open_at_the_same_moment_opens_for_all_of_them(tmp_path: Path) -> None:
    # one moment rarely shows it: without waiting, about one opening in a hundred was refused
    assert [failure for number in range(ROUNDS) for failure in opened_at_once(tmp_path / f"{number}.db")] == []
