"""Pictures of a field through a camera."""

import torch

from runtime.field.cameras import Cameras, Rays
from runtime.field.pictures import look
from runtime.field.volume import Rendering


def camera(side: int) -> Cameras:
    return Cameras(torch.eye(4)[None], torch.tensor([[side, side, side / 2, side / 2]]), torch.tensor([[side, side]]))


def test_a_pixel_is_the_mean_over_its_places() -> None:
    def ramp(rays: Rays) -> Rendering:
        # The place on a picture at distance 1: x in [-0.5, 0.5], as the camera looks down -z.
        x = rays.directions[:, 0] / -rays.directions[:, 2]
        seen = (x > 0.125).float()
        return Rendering(seen[:, None].expand(-1, 3) * 0.5, 1 - seen, seen * 2, seen * 0)

    plain = look(ramp, camera(4), samples=1)
    fine = look(ramp, camera(4), samples=2)
    assert plain.alpha[0].tolist() == [0.0, 0.0, 0.0, 1.0] or plain.alpha[0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert fine.alpha[0].tolist() == [0.0, 0.0, 0.5, 1.0]
    assert torch.allclose(fine.on(1.0)[0, :, 0], torch.tensor([1.0, 1.0, 0.75, 0.5]))
    assert fine.on(0.0)[0, :, 0].tolist() == [0.0, 0.0, 0.25, 0.5]
    assert fine.depth[0].tolist() == [0.0, 0.0, 1.0, 2.0]
    assert fine.normal is None
