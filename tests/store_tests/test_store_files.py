"""Where the store is, and what is said of a database that cannot be used."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path

import pytest

from dspex_agents import database as database_module
from dspex_agents.database import Database, Migration
from dspex_agents.errors import StoreError
from dspex_agents.settings import Settings
from dspex_ray.errors import ConfigurationError
from dspex_ray.store import open_store


@pytest.mark.parametrize("given", ["kept/my.db", "sqlite:///kept/my.db"])
def test_a_relative_path_is_made_whole_so_that_other_processes_find_the_file(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(given)
    assert store.database.url == f"sqlite:///{tmp_path}/kept/my.db"
    assert (tmp_path / "kept" / "my.db").is_file()
    store.database.close()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store("~/my.db")
    assert store.database.url == f"sqlite:///{tmp_path}/my.db"
    store.database.close()


def test_the_url_comes_from_the_call_then_the_environment_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({"DSPEX_STORE": "env.db"})
    urls = [open_store("call.db", settings), open_store(None, settings), open_store(None, Settings())]
    assert [Path(store.database.url).name for store in urls] == ["call.db", "env.db", "dspex.db"]
    assert (tmp_path / ".dspex" / "dspex.db").is_file()
    for store in urls:
        store.database.close()


@pytest.mark.parametrize("url", [":memory:", "sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_a_store_in_memory_is_refused_since_every_process_would_see_its_own(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be in memory"):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:s3cret@h/db", "names a mysql database.*postgresql://"),
        ("oracle9://u:s3cret@h/db", "names a oracle9 database"),
        ("postgresql://u:s3cret@h:port/db", "no database URL"),
        ("postgresql://u:s3cret@127.0.0.1:1/db?connect_timeout=2", "cannot be used.*DSPEX_STORE"),
    ],
)
def test_a_url_that_does_not_work_is_explained_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value) + repr(caught.value)


def test_a_password_never_shows_in_a_repr_but_travels_with_the_pickle() -> None:
    database = Database("postgresql://u:s3cret@h/db")
    assert repr(database) == "Database('postgresql://u:***@h/db')"
    assert pickle.loads(pickle.dumps(database)).url == "postgresql://u:s3cret@h/db"


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, only notes. " * 20, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"notes\.txt'\) is not a SQLite database; name another file"):
        open_store(str(tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8").startswith("not a database")


def test_a_damaged_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "torn.db"
    store = open_store(str(path))
    store.database.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(ConfigurationError, match=r"torn\.db'\) is damaged"):
        open_store(str(path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"The folder of the store '.*file/x\.db' cannot be made"):
        open_store(str(tmp_path / "file" / "x.db"))


def test_a_database_that_stays_locked_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    store = open_store(str(tmp_path / "store.db"))
    blocker = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"stayed locked .* by another process; end it or use PostgreSQL"):
        store.save_version({"program": "a:B"}, {}, now=1.0)
    assert store.versions() == []  # readers never wait for a writer
    blocker.close()
    assert store.save_version({"program": "a:B"}, {}, now=1.0).number == 1
    store.database.close()


def test_a_transaction_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "x.db"))
    database.migrate([Migration("t-1", lambda c: c.exec_driver_sql("CREATE TABLE t (n INTEGER)"))])

    def half() -> None:
        with database.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
    database.close()


def test_migrations_run_once_in_order_and_a_failing_one_is_undone(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "x.db"))
    ran: list[str] = []
    steps = [Migration(f"t-{n}", lambda _, n=n: ran.append(str(n))) for n in (1, 2)]
    database.migrate(steps[:1])
    database.migrate(steps)
    database.migrate(steps)
    assert ran == ["1", "2"]

    def broken(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        database.migrate([*steps, Migration("t-3", broken)])
    database.migrate([*steps, Migration("t-3", lambda c: c.exec_driver_sql("CREATE TABLE t (n INTEGER)"))])
    with pytest.raises(StoreError, match=r"share an id: \['t-1', 't-1'\]"):
        database.migrate([steps[0], steps[0]])
    with pytest.raises(StoreError, match=r"newer version .* 't-3'"):
        database.migrate(steps)
    database.close()
