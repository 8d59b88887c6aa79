"""Helper threads that run a kernel side by side with the calling thread."""

import os
from collections.abc import Callable
from functools import lru_cache
from queue import SimpleQueue
from threading import Thread

import numpy as np

from runtime.kernels.jit import wait_for
from runtime.threads import thread_count

POLLS = 2000
"""How often the calling thread looks whether the others are done before it sleeps: some 20 microseconds."""


@lru_cache(maxsize=1)
def _helpers() -> tuple[list[Thread], SimpleQueue]:
    """Helper threads, started as they are needed, and the queue of their work: much cheaper a call than an executor."""
    return [], SimpleQueue()


# A forked process has this module's memory, but not the threads: without new ones its first call would wait forever.
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def _help(calls: SimpleQueue) -> None:
    while True:
        kernel, args, done = calls.get()
        try:
            kernel(*args)
            done.put(None)
        except BaseException as error:  # handed to the caller, who raises it
            done.put(error)
        del kernel, args, done  # else a call's arrays would live until the next one


def share_jobs(kernel: Callable, jobs: int, *args) -> None:
    """Call a kernel on as many threads as `thread_count` says, this one among them; each takes jobs while any is left.

    The kernel's first argument is a new work counter, see `jit.take_job`; the others are `args`. It returns when all
    jobs are done, which is not the same as when all calls have returned: a helper that wakes late finds no job left and
    goes back to sleep, having read the counter alone. So nobody waits for it, unless a job is missing after `POLLS`
    looks: then it sleeps until each helper has answered, and raises what a helper has raised.
    """
    threads = max(1, min(thread_count(), jobs))
    work = np.zeros(2, np.int64)
    if threads == 1:
        kernel(work, *args)
        return
    helpers, calls = _helpers()
    done = SimpleQueue()  # one a call: an answer that comes late goes to a queue that nobody reads
    # Daemons, because they wait for work forever and must not keep the interpreter from ending.
    while len(helpers) < threads - 1:
        helpers.append(Thread(target=_help, args=(calls,), name="kernels", daemon=True))
        helpers[-1].start()
    for _ in range(1, threads):
        calls.put((kernel, (work, *args), done))
    kernel(work, *args)
    if not wait_for(work, jobs, POLLS):
        errors = [done.get() for _ in range(1, threads)]
        for error in filter(None, errors):
            raise error
