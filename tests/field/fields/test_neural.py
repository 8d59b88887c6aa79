"""NeRF's two networks along rays."""

import math

import pytest
import torch

from runtime.field.cameras import Rays
from runtime.field.fields import neural
from runtime.field.fields.neural import REACH, NeuralField


def field(fine: int = 4) -> NeuralField:
    torch.manual_seed(0)
    return NeuralField(frequencies=3, view_directions=True, coarse=6, fine=fine)


def rays(count: int = 3) -> Rays:
    origins = torch.tensor([[0.0, 0, 3]]).repeat(count, 1)
    return Rays(origins, torch.nn.functional.normalize(torch.randn(count, 3) * 0.1 - origins, dim=1))


def make_constant(scene: NeuralField, density: float) -> None:
    """Make all densities one number, whatever the place."""
    for network in (scene.coarse, scene.fine):
        if network is not None:
            torch.nn.init.zeros_(network.density.weight)
            torch.nn.init.constant_(network.density.bias, density)


def test_a_constant_density_has_a_closed_form() -> None:
    scene = field()
    make_constant(scene, 0.7)
    for draws in (None, torch.Generator().manual_seed(0)):
        coarse, fine = scene.renderings(rays(), draws)
        # All of the ball's depth but what lies before the first sample: a twelfth of it, or at most a sixth.
        passed = math.exp(-0.7 * 2 * REACH)
        for shown in (coarse, fine):
            assert (shown.transmittance >= passed * 0.999).all()
            assert (shown.transmittance <= passed ** (5 / 6) * 1.001).all()


def test_without_a_fine_network_there_is_one_rendering() -> None:
    scene = field(fine=0)
    assert len(scene.renderings(rays())) == 1
    assert scene.fine is None


def test_pictures_draw_nothing_at_random_and_may_be_cut() -> None:
    scene = field()
    many = rays(5)
    whole = scene.render(many)
    assert torch.equal(whole.colour, scene.render(many).colour)
    alone = torch.cat([scene.render(Rays(o[None], d[None])).colour for o, d in zip(*vars(many).values(), strict=True)])
    assert torch.allclose(whole.colour, alone, atol=1e-6)


@pytest.mark.gpu
def test_a_card_shows_what_the_cpu_shows() -> None:
    shown, slopes = [], []
    for device in ("cpu", "cuda"):
        scene = field().to(device)
        renderings = scene.renderings(rays(20), torch.Generator().manual_seed(1))
        assert all(one.colour.device.type == "cpu" for one in renderings)
        sum(one.colour.square().sum() + one.transmittance.sum() for one in renderings).backward()  # pyright: ignore
        shown.append(torch.cat([one.colour for one in renderings]).detach())
        slopes.append(torch.cat([p.grad.flatten().cpu() for p in scene.parameters() if p.grad is not None]))
    torch.testing.assert_close(shown[1], shown[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(slopes[1], slopes[0], atol=1e-4, rtol=1e-3)


def test_the_fine_network_looks_where_the_coarse_one_has_weight() -> None:
    scene = field(fine=64)
    with torch.no_grad():
        # Dense at heights below 0 only: the frequencies' first numbers are the points themselves.
        for layer in scene.coarse.layers:
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        scene.coarse.layers[0].weight[0, 2] = -1.0
        for layer in list(scene.coarse.layers)[1:]:
            layer.weight[0, -256 if layer.in_features > 256 else 0] = 1.0
        torch.nn.init.zeros_(scene.coarse.density.weight)
        torch.nn.init.zeros_(scene.coarse.density.bias)
        scene.coarse.density.weight[0, 0] = 50.0
    places = []
    evaluate = scene._evaluate

    def spy(network, some, t, far):
        places.append(t)
        return evaluate(network, some, t, far)

    scene._evaluate = spy  # pyright: ignore[reportAttributeAccessIssue]
    straight = Rays(torch.tensor([[0.0, 0, 3]]), torch.tensor([[0.0, 0, -1]]))
    scene.renderings(straight, torch.Generator().manual_seed(0))
    coarse, both = places
    assert both.shape == (1, 70)
    assert (both.diff(dim=1) >= 0).all()
    # Height 0 is at distance 3; the first dense coarse sample ends what the ray sees.
    first = coarse[0][coarse[0] > 3][0]
    near = (both[0] - first).abs() < 2 * REACH / 6
    assert near.sum() > 50


def test_gradients_reach_both_networks() -> None:
    scene = field()
    coarse, fine = scene.renderings(rays(), torch.Generator().manual_seed(0))
    (coarse.colour.sum() + fine.colour.sum()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in scene.parameters())


def test_the_grid_of_a_constant_density(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural, "GRID", 21)  # of 97, which take a million evaluations
    scene = field()
    make_constant(scene, 0.7)
    raw = scene.raw_density()
    assert raw.shape == (21, 21, 21)
    assert math.isclose(torch.nn.functional.softplus(raw).mean().item() * 32, 0.7, rel_tol=1e-4)
    assert scene.colour_at(torch.rand(4, 3)).shape == (4, 3)
