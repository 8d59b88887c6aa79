import os
import threading

import pytest

from runtime.errors import UserError
from serving.jobs import AGEING_S, DEATHS, DEATHS_AT_ONCE, ConflictError, Jobs, Limits, QueueFullError, UnknownJobError
from serving.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Store

MANIFEST = {"outputs": [{"name": "toy.svg"}]}


def test_the_same_request_again_joins_its_job(jobs: Jobs, ask) -> None:
    job, new = jobs.submit(ask(text="x"))
    assert new and job.state == QUEUED
    assert jobs.submit(ask(text="x")) == (job, False)
    jobs.take(1)
    assert jobs.submit(ask(text="x"))[0].state == RUNNING
    jobs.finish(job.id, MANIFEST)
    again, new = jobs.submit(ask(text="x"))
    assert not new and again.state == DONE and again.manifest
    assert len(jobs.listed()) == 1


def test_a_clients_own_id(jobs: Jobs, ask) -> None:
    job, _ = jobs.submit(ask(text="x"), name="mine")
    assert job.id == "mine" and not jobs.submit(ask(text="x"), name="mine")[1]
    with pytest.raises(ConflictError, match="'mine': the id is taken by another request"):
        jobs.submit(ask(text="y"), name="mine")


def test_one_of_many_at_once_is_new(jobs: Jobs, ask) -> None:
    requests, new = [ask(text="x")] * 8, []
    threads = [threading.Thread(target=lambda r=r: new.append(jobs.submit(r)[1])) for r in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 7 + [True]


def test_order_is_by_priority_and_age(jobs: Jobs, clock, ask) -> None:
    first = jobs.submit(ask(text="first"))[0].id
    urgent = jobs.submit(ask(text="urgent"), priority=1)[0].id
    assert [jobs.position(jobs.get(name)) for name in (urgent, first)] == [0, 1]
    clock.now += 2 * AGEING_S
    late = jobs.submit(ask(text="late"), priority=1)[0].id  # the first has waited longer than a point is worth
    assert [jobs.take(1).id for _ in range(3)] == [urgent, first, late]  # pyright: ignore[reportOptionalMemberAccess]
    assert jobs.take(1) is None
    assert jobs.position(jobs.get(first)) is None


def test_a_full_queue_and_a_quota(jobs: Jobs, ask) -> None:
    with pytest.raises(QueueFullError, match="quota: 1 of your jobs"):
        for seed in range(2):
            jobs.submit(ask(seed=seed), client="a", quota=1)
    for seed in range(7):
        jobs.submit(ask(seed=10 + seed), client="b")
    with pytest.raises(QueueFullError, match="queue: 8 jobs wait, at most 8 may"):
        jobs.submit(ask(seed=99))
    assert not jobs.submit(ask(seed=10))[1], "what is there already is never refused"
    jobs.take(1)
    jobs.submit(ask(seed=99))


def test_cancel_in_each_state(jobs: Jobs, ask) -> None:
    queued = jobs.submit(ask(text="q"))[0].id
    assert jobs.cancel(queued).state == CANCELLED
    assert jobs.take(1) is None
    running = jobs.submit(ask(text="r"))[0].id
    jobs.take(1)
    assert jobs.cancel(running).state == RUNNING
    assert not jobs.note(running, "step", {"done": 1, "total": 2, "eta_s": None})
    jobs.stopped(running)
    assert jobs.get(running).state == CANCELLED
    for end, state in ((lambda n: jobs.finish(n, MANIFEST), DONE), (lambda n: jobs.fail(n, "no"), FAILED)):
        name = jobs.submit(ask(text=state))[0].id
        jobs.take(1)
        end(name)
        assert jobs.cancel(name).state == state
    with pytest.raises(UnknownJobError, match="'none': there is none of this id"):
        jobs.cancel("none")


def test_a_result_that_comes_just_before_the_cancel_stays(jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    jobs.take(1)
    jobs.cancel(name)
    jobs.finish(name, MANIFEST)
    jobs.stopped(name)
    assert jobs.get(name).state == DONE


def test_failed_jobs_are_tried_again(jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    with pytest.raises(ConflictError, match="expected one that failed"):
        jobs.retry(name)
    jobs.take(1)
    jobs.fail(name, "disk: full")
    assert jobs.get(name).message == "disk: full"
    assert jobs.submit(ask())[0].state == QUEUED, "by the same request"
    jobs.take(1)
    jobs.fail(name, "again")
    assert jobs.retry(name).message is None
    assert [event.kind for event in jobs.store.events(0, name)] == (["queued", "running", "failed"] * 2 + ["queued"])


def test_a_process_that_dies_without_a_step_too_often(jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    for _ in range(DEATHS_AT_ONCE - 1):
        jobs.take(1)
        jobs.requeue(name, "died", died=True)
    jobs.take(1)
    jobs.note(name, "step", {"done": 1, "total": 9, "eta_s": 8.0})  # it comes further: deaths are counted anew
    for _ in range(DEATHS_AT_ONCE):
        assert jobs.get(name).state == RUNNING
        jobs.requeue(name, "died", died=True)
        jobs.take(1)
    jobs.requeue(name, "died", died=True)
    assert jobs.get(name).state == FAILED and "dies again and again" in str(jobs.get(name).message)


def test_a_process_that_always_dies_at_the_same_step(jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    for _ in range(DEATHS):
        assert jobs.take(1), "a few kills are no fault of the job"
        jobs.note(name, "step", {"done": 3, "total": 9, "eta_s": 8.0})
        jobs.requeue(name, "died", died=True)
    assert jobs.get(name).state == FAILED


def test_what_a_killed_server_has_left_running_is_queued(jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    assert jobs.take(2).threads == 2  # pyright: ignore[reportOptionalMemberAccess]
    assert jobs.recover() == 1
    assert jobs.take(1).threads == 2, "as many as it began with"  # pyright: ignore[reportOptionalMemberAccess]
    assert jobs.get(name).state == RUNNING


def test_a_deadline_ends_jobs_that_wait_and_jobs_that_run(jobs: Jobs, clock, ask) -> None:
    running, waiting = (jobs.submit(ask(text=t), deadline_s=5.0)[0].id for t in "rw")
    jobs.take(1)
    jobs.sweep()
    assert jobs.get(waiting).state == QUEUED
    clock.now += 6
    jobs.sweep()
    assert jobs.get(waiting).state == FAILED and "deadline" in str(jobs.get(waiting).message)
    assert jobs.get(running).stopping
    jobs.stopped(running)
    assert jobs.get(running).state == FAILED and "while the job was running" in str(jobs.get(running).message)


def test_old_jobs_and_files_go(store: Store, clock, ask) -> None:
    jobs = Jobs(store, Limits(keep_s=100.0, size=10), clock)
    digest = jobs.keep_file(b"content")
    assert digest == jobs.keep_file(b"content")
    name = jobs.submit(ask(picture={"name": "a.png", "sha256": digest}))[0].id
    jobs.take(1)
    store.job_folder(name).mkdir()
    (store.job_folder(name) / "big").write_bytes(b"x" * 8)
    jobs.finish(name, MANIFEST)
    assert jobs.get(name).size == 8
    os.utime(store.file(digest), (0, 0))
    jobs.sweep()
    assert store.file(digest).is_file(), "a job needs it"
    clock.now += 200
    os.utime(store.file(digest), (0, 0))
    jobs.sweep()
    with pytest.raises(UnknownJobError):
        jobs.get(name)
    clock.now += 4000
    jobs.sweep()
    assert not store.file(digest).is_file() and not store.job_folder(name).exists()


def test_the_size_of_the_store_is_bounded(store: Store, clock, ask) -> None:
    jobs = Jobs(store, Limits(size=10), clock)
    names = []
    for seed in range(3):
        names.append(jobs.submit(ask(seed=seed))[0].id)
        jobs.take(1)
        store.job_folder(names[-1]).mkdir()
        (store.job_folder(names[-1]) / "big").write_bytes(b"x" * 4)
        jobs.finish(names[-1], MANIFEST)
    jobs.sweep()
    assert [job.id for job in jobs.listed()] == [names[2], names[1]]


def test_the_size_of_what_clients_send_is_bounded(store: Store, clock) -> None:
    jobs = Jobs(store, Limits(uploads=10), clock)
    digest = jobs.keep_file(b"12345678")
    assert jobs.keep_file(b"12345678") == digest, "it is there already"
    with pytest.raises(QueueFullError, match="files: 8 bytes were sent, at most 10 may"):
        jobs.keep_file(b"123")
    assert jobs.keep_file(b"12") != digest


def test_a_file_that_was_not_sent(jobs: Jobs, ask) -> None:
    with pytest.raises(UserError, match="picture: no file of this SHA-256 was sent"):
        jobs.submit(ask(picture={"name": "a.png", "sha256": "0" * 64}))


def test_eta(jobs: Jobs, clock, ask) -> None:
    done = jobs.submit(ask(seed=0))[0].id
    assert jobs.eta_s(jobs.get(done)) is None
    jobs.take(1)
    clock.now += 10
    jobs.finish(done, MANIFEST)
    names = [jobs.submit(ask(seed=seed))[0].id for seed in (1, 2)]
    jobs.take(1)
    jobs.note(names[0], "step", {"done": 1, "total": 2, "eta_s": 4.0})
    assert jobs.eta_s(jobs.get(names[0])) == 4.0
    assert jobs.eta_s(jobs.get(names[1])) == pytest.approx(14.0, abs=0.1)  # a tenth: each look at the clock takes 1 ms
    assert jobs.eta_s(jobs.get(done)) is None


def test_a_server_that_is_about_to_end_admits_nothing(jobs: Jobs, ask) -> None:
    jobs.submit(ask())
    jobs.draining = True
    with pytest.raises(QueueFullError, match="about to end"):
        jobs.submit(ask(seed=1))
    assert jobs.take(1) is None


def test_delete(jobs: Jobs, ask) -> None:
    name = jobs.submit(ask())[0].id
    with pytest.raises(ConflictError, match="is queued; cancel it"):
        jobs.delete(name)
    jobs.cancel(name)
    jobs.delete(name)
    assert jobs.listed() == []
    assert [event.kind for event in jobs.store.events(0)] == ["deleted"]
