"""Jobs shared by threads: each is taken once, and errors reach the caller."""

from threading import current_thread, main_thread

import pytest
import torch

from runtime.kernels.jit import DONE, TAKEN, finish_job, take_job
from runtime.kernels.threads import share_jobs
from tests.vector.raster.stages import from_python


def test_errors_in_a_helper_thread_reach_the_caller():
    def kernel(*_):
        if current_thread() is not main_thread():
            raise ValueError("in the helper")

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match="in the helper"):
            share_jobs(kernel, 2)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_job_is_taken_once(threads: int) -> None:
    """The work counter comes first, whatever follows it."""
    taken: list[int] = []
    counters = set()

    def kernel(work, extra):
        assert extra == "extra"
        counters.add(id(work))
        while (job := from_python(take_job)(work)) < 50:
            taken.append(job)
            from_python(finish_job)(work)
        assert work[TAKEN] >= 50
        assert work[DONE] <= 50

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        share_jobs(kernel, 50, "extra")
    finally:
        torch.set_num_threads(before)
    assert sorted(taken) == list(range(50))
    assert len(counters) == 1
