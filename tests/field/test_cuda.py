"""The march for graphics cards: its kernels, run by numba's simulator, against the twin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.field.grids import SHOWN, random_grid, random_rays
from tests.tolerance import FIELD_TWIN, FIELD_TWIN_VJP

ROOT = Path(__file__).parents[2]


def test_the_simulators_pictures_and_gradients_are_the_twins() -> None:
    # In a process of its own: numba decides for the simulator when it is imported.
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.field.simulated"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "as the twin"


@pytest.mark.gpu
@pytest.mark.parametrize("groups", [1, 4])
def test_a_card_draws_what_the_cpu_draws(groups: int) -> None:
    field = random_grid(5, 33, groups)
    rays, jitter = random_rays(6)
    results = []
    for values in (field.values, field.values.detach().cuda().requires_grad_()):
        import dataclasses

        from runtime.field.march import march

        shown = march(dataclasses.replace(field.grid(), values=values), rays, jitter, normals=True)
        torch.stack([getattr(shown, name).square().sum() for name in SHOWN]).sum().backward()
        assert values.grad is not None
        results.append((shown, values.grad.cpu()))
    for name in SHOWN:
        assert torch.allclose(getattr(results[1][0], name).cpu(), getattr(results[0][0], name), atol=FIELD_TWIN)
    largest = results[0][1].abs().max().item()
    assert torch.allclose(results[1][1], results[0][1], rtol=0, atol=FIELD_TWIN_VJP * largest)
