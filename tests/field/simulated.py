"""The kernels for cards by numba's simulator, beside the twin: run by `test_cuda.py` in a process of its own."""

import numpy as np
import torch

from runtime.field.cuda import function, launch
from runtime.field.march import EXTENT, STEP
from runtime.field.volume import Rendering
from tests.field.grids import SHOWN, generator, random_grid, random_rays, twin
from tests.tolerance import FIELD_TWIN, FIELD_TWIN_VJP


class Simulated(launch.Card):
    """Hands over tensors of the CPU as arrays, which the simulator takes as they are."""

    def __init__(self, device: torch.device) -> None:
        self.stream = 0

    def array(self, tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().numpy()


def compare(seed: int, size: int, groups: int, *, normals: bool) -> None:
    field = random_grid(seed, size, groups)
    rays, jitter = random_rays(seed, 24)
    exact_values = field.values.detach().double().requires_grad_()
    exact = twin(field, exact_values, rays, jitter, normals=normals)
    box = function.Box(field.box[:3], field.side, STEP, EXTENT)

    def draw() -> Rendering:
        return function.march_on_card(
            field.values, field.leaps, box, rays, jitter, normals=normals, make_card=Simulated
        )

    shown = draw()
    draws = generator(3)
    loss, exact_loss = torch.zeros(()), torch.zeros((), dtype=torch.float64)
    for name in SHOWN if normals else SHOWN[:-1]:
        ours, theirs = getattr(shown, name), getattr(exact, name)
        assert torch.allclose(ours.double(), theirs, atol=FIELD_TWIN, rtol=FIELD_TWIN), name
        upstream = torch.randn(theirs.shape, generator=draws)
        loss = loss + (ours * upstream).sum()
        exact_loss = exact_loss + (theirs * upstream.double()).sum()
    (gradient,) = torch.autograd.grad(loss, field.values)
    (expected,) = torch.autograd.grad(exact_loss, exact_values)
    largest = expected.abs().max().item()
    assert largest > 0.1
    assert torch.allclose(gradient.double(), expected, rtol=0, atol=FIELD_TWIN_VJP * largest)
    assert torch.equal(draw().colour, shown.colour)


if __name__ == "__main__":
    assert hasattr(launch._draw_all, "py_func") and not hasattr(launch._draw_all, "_cache"), "expected the simulator"
    compare(1, 9, 1, normals=True)
    compare(2, 9, 4, normals=False)
    print("as the twin")
