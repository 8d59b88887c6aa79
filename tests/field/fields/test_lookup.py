import torch

from runtime.field.cameras import Cameras
from runtime.field.fields.lookup import DISTANCE, FOCAL, features_at, inside, places, silhouettes
from runtime.field.poses import draw_sphere
from tests.tolerance import FLOAT32_ROUNDING


def test_places_are_the_pixels_of_a_camera() -> None:
    poses = draw_sphere(1, torch.Generator().manual_seed(0), radius=(DISTANCE, DISTANCE))
    camera = Cameras(poses, torch.tensor([[FOCAL * 64, FOCAL * 64, 32.0, 32.0]]), torch.tensor([[64, 64]]))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    local = points @ poses[0, :3, :3]
    assert torch.allclose(places(local) * 64, camera.project(points)[0][0], atol=1e-4)


def test_features_between_pixels_are_bilinear_and_go_on_beyond_the_border() -> None:
    features = torch.randn(2, 8, 8, 3)
    at = torch.rand(100, 2, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    picture = torch.arange(100) % 2
    ours = features_at(features, picture, at)
    grid = (2 * at - 1)[:, None, None]
    theirs = torch.nn.functional.grid_sample(
        features[picture].permute(0, 3, 1, 2), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    assert torch.allclose(ours, theirs[:, :, 0, 0], atol=FLOAT32_ROUNDING)


def test_gradients_of_features_are_those_of_the_lookup() -> None:
    features = torch.randn(1, 4, 4, 2, requires_grad=True)
    at = torch.tensor([[0.5, 0.5], [0.3, 0.9]])
    picture = torch.zeros(2, dtype=torch.int64)
    (gradient,) = torch.autograd.grad(features_at(features, picture, at)[0, 0], features)
    # The middle of a picture of 4 x 4 lies between its four middle pixels.
    assert torch.allclose(gradient[0, 1:3, 1:3, 0], torch.full((2, 2), 0.25))
    assert gradient.sum() == 1


def test_silhouettes_grow_by_a_pixel_and_rule_out_what_is_beside_them() -> None:
    picture = torch.zeros(1, 4, 8, 8)
    picture[0, 3, 4, 4] = 1
    mask = silhouettes(picture)
    assert mask.sum() == 9
    at = torch.tensor([[4.5, 4.5], [3.1, 5.9], [2.9, 4.5], [-0.5, 4.5], [8.0, 4.5]]) / 8
    zero = torch.zeros(5, dtype=torch.int64)
    assert inside(mask, zero, at).tolist() == [True, True, False, False, False]
