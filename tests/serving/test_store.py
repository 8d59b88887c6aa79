import contextlib
import sqlite3
from pathlib import Path

import pytest

from runtime.errors import UserError
from serving.jobs import Jobs
from serving.store import QUEUED, RUNNING, Store


def test_one_server_a_store(store: Store) -> None:
    with pytest.raises(UserError, match="another server has it open"):
        Store(store.folder)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be opened"):
        Store(tmp_path / "file")


@pytest.mark.parametrize("name", ["files/photo.jpg", "jobs/notes.txt"])
def test_a_folder_with_files_of_others_is_no_store(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="got one with files of others; give another folder: --store"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).parent.name]


@pytest.mark.parametrize("content", ["text", "table"])
def test_a_database_of_others_is_no_store(tmp_path: Path, content: str) -> None:
    file = tmp_path / "jobs.sqlite"
    if content == "table":
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE jobs (title TEXT)")
    else:
        file.write_text("my own notes, no database" * 100)
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"give another folder: --store"):
        Store(tmp_path)
    assert file.read_bytes() == before


def test_a_store_that_was_killed_as_it_was_made_is_one(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "lost+found").mkdir()  # a volume of its own
    Store(tmp_path).close()
    Store(tmp_path).close()


def test_jobs_that_were_begun_without_a_server_make_no_store_foreign(tmp_path: Path) -> None:
    """Tritonserver takes jobs by itself, and may be there before the gateway."""
    job = tmp_path / "jobs" / "26a2d6a4eb0c30f1f40c2e1d"
    (job / "run").mkdir(parents=True)
    (job / "lock").touch()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / ("0" * 64)).write_bytes(b"a file that was sent")
    Store(tmp_path).close()


@pytest.mark.parametrize("name", ["lock.txt", "letter.txt"])
def test_a_folder_that_is_no_job_does(tmp_path: Path, name: str) -> None:
    own = tmp_path / "jobs" / "applications"
    own.mkdir(parents=True)
    (own / name).write_text("mine")
    if name == "letter.txt":
        (own / "lock").touch()
    with pytest.raises(UserError, match="got one with files of others"):
        Store(tmp_path)


def test_a_transaction_is_whole_or_not_at_all(store: Store, jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    with pytest.raises(RuntimeError), store.transaction() as connection:
        store.update(connection, name, (QUEUED,), state=RUNNING)
        store.append(connection, name, 0.0, "running", {})
        raise RuntimeError
    assert jobs.get(name).state == QUEUED
    assert [event.kind for event in store.events(0)] == ["queued"]


def test_events_have_growing_numbers_and_stay(tmp_path: Path) -> None:
    for _ in range(2):
        store = Store(tmp_path / "store")
        with store.transaction() as connection:
            for job in ("a", "b", "a"):
                store.append(connection, job, 1.0, "step", {"x": 1})
        store.close()
    store = Store(tmp_path / "store")
    assert [event.n for event in store.events(0)] == [1, 2, 3, 4, 5, 6]
    assert [event.n for event in store.events(2, "a")] == [3, 4, 6]
    assert [event.n for event in store.events(2, "a", limit=1)] == [3]
    assert store.last_event() == 6
    store.close()


def test_what_is_committed_is_on_the_disk(store: Store, jobs: Jobs, ask) -> None:
    jobs.submit(ask())
    other = sqlite3.connect(store.folder / "jobs.sqlite")  # another process, as after a kill
    assert other.execute("SELECT state FROM jobs").fetchall() == [("queued",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
