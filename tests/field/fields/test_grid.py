"""The grid as a scene: total variation, Adam, occupancy, resizing, state."""

import math

import pytest
import torch

from runtime.field.fields.grid import EMPTY, DenseGrid, GridAdam, active_nodes, blur_rows, cell_of, raw_of_opacity
from runtime.field.march import EXTENT
from runtime.field.reference import grid as reference
from tests.field.grids import BOX, generator, random_grid, random_rays
from tests.tolerance import FIELD_TWIN_VJP, FLOAT32_ROUNDING


def test_sizes_of_cells() -> None:
    assert [cell_of(size) for size in (16, 17, 33, 65, 113, 129, 51)] == [1, 2, 2, 4, 4, 4, 2]


def test_active_nodes_are_the_corners_of_occupied_cells() -> None:
    occupied = torch.rand(5, 5, 5, generator=generator(0)) < 0.2
    assert torch.equal(active_nodes(occupied, 11).long(), reference.active_nodes(occupied, 11))
    one = torch.zeros(4, 4, 4, dtype=torch.bool)
    one[1, 2, 3] = True
    assert len(active_nodes(one, 17)) == 5**3
    assert len(active_nodes(torch.ones(4, 4, 4, dtype=torch.bool), 17)) == 17**3


@pytest.mark.parametrize("groups", [1, 4])
def test_total_variation_equals_its_twin(groups: int) -> None:
    field = random_grid(1, 9, groups, share=1.0)
    values = field.values.detach().double().requires_grad_()
    exact = reference.total_variation(values, torch.tensor([0.3, 0.7], dtype=torch.float64), 0.01)
    exact.backward()
    total = field.total_variation(0.3, 0.7, 0.01)
    (2 * total).backward()
    assert math.isclose(total.item(), exact.item(), rel_tol=1e-6)
    assert field.values.grad is not None and values.grad is not None
    assert torch.allclose(field.values.grad.double(), 2 * values.grad, atol=FIELD_TWIN_VJP)


def test_total_variation_of_a_ramp() -> None:
    field = DenseGrid.empty(5, BOX)
    with torch.no_grad():
        field.values[..., 0, 0] = torch.arange(5.0)[:, None, None] * 3
    # 4 x 25 differences of 3 along one axis; the others are 0 and cost the root of epsilon, in four values.
    expected = 100 * math.sqrt(9 + 1e-4) + 200 * 0.01
    assert math.isclose(field.total_variation(1.0, 0.0, 1e-4).item(), expected, rel_tol=1e-6)


def test_inactive_nodes_have_no_total_variation() -> None:
    field = random_grid(2, 17, share=0.1)
    field.total_variation(1.0, 1.0, 0.01).backward()
    assert field.values.grad is not None
    active = torch.zeros(17**3, dtype=torch.bool)
    active[field.active.long()] = True
    touched = field.values.grad.view(17**3, 4).abs().sum(1) > 0
    assert 0 < touched.sum() <= active.sum() < 17**3
    assert not (touched & ~active).any()


@pytest.mark.parametrize("groups", [1, 4])
def test_adam_equals_pytorchs_on_active_nodes(groups: int) -> None:
    field = random_grid(3, 9, groups, share=0.5)
    with torch.no_grad():
        field.values[..., 1:] = 0.5
    start = field.values.detach().clone()
    density = torch.nn.Parameter(start[..., :1].clone())
    colour = torch.nn.Parameter(start[..., 1:].clone())
    theirs = torch.optim.Adam([{"params": [density], "lr": 0.2}, {"params": [colour], "lr": 0.004}], betas=(0.9, 0.99))
    ours = GridAdam(field, lr=0.2, colour_lr=0.004)
    active = field.active.long()
    for step in range(5):
        gradient = torch.zeros(9**3, 4 * groups)
        gradient[active] = torch.randn(len(active), 4 * groups, generator=generator(step))
        gradient = gradient.view_as(start)
        ours.zero_grad()
        assert field.values.grad is not None
        field.values.grad += gradient
        ours.step()
        density.grad = gradient[..., :1].clone()
        colour.grad = gradient[..., 1:].clone()
        theirs.step()
    expected = torch.cat([density.detach(), colour.detach()], -1)
    assert torch.allclose(field.values.detach(), expected, atol=FLOAT32_ROUNDING)
    still = torch.ones(9**3, dtype=torch.bool)
    still[active] = False
    assert torch.equal(field.values.detach().view(9**3, -1)[still], start.view(9**3, -1)[still])
    assert field.gradient is not None
    assert field.gradient.abs().max() == 0


def test_colours_stay_in_range_and_densities_do_not() -> None:
    field = DenseGrid.empty(5, BOX, colour=0.95)
    adam = GridAdam(field, lr=0.5, colour_lr=0.5)
    adam.zero_grad()
    assert field.values.grad is not None
    field.values.grad -= 1
    adam.step()
    assert field.values[..., 1:].max().item() == 1.0
    assert math.isclose(field.values[0, 0, 0, 0, 0].item(), EMPTY + 0.5, rel_tol=1e-5)


def test_gradients_of_renders_and_of_total_variation_add_up_in_the_buffer() -> None:
    field = random_grid(4)
    rays, jitter = random_rays(5)
    render = torch.autograd.grad(field.render(rays, jitter).colour.sum(), field.values)[0]
    smooth = torch.autograd.grad(field.total_variation(0.1, 0.2, 0.01), field.values)[0]
    adam = GridAdam(field, lr=0.1, colour_lr=0.1)
    adam.zero_grad()
    (2 * field.render(rays, jitter).colour.sum() + field.total_variation(0.1, 0.2, 0.01)).backward()
    assert field.values.grad is field.gradient
    assert field.gradient is not None
    assert torch.allclose(field.gradient, 2 * render + smooth, atol=1e-5)
    rows = field.gradient.view(17**3, 4)
    assert field.gradients()["values"].max() == rows[field.active.long()].abs().max()
    rows[field.active.long()[-1], 2] = math.nan
    assert field.gradients()["values"].isnan().any()
    rows[field.active.long()[-1], 2] = -math.inf
    assert not field.gradients()["values"].isfinite().all()


def test_occupancy_covers_all_that_is_dense_and_no_more_than_its_neighbours() -> None:
    field = DenseGrid.empty(33, BOX)
    with torch.no_grad():
        field.values[..., 0, 0] = -20
        field.values[9, 20, 31, 0, 0] = 5
    field.update_occupancy()
    x, y, z = torch.nonzero(field.occupied, as_tuple=True)
    # The node and those one beside it lie in intervals 7 to 10, 18 to 21, 29 to 32; cells have two each.
    assert (x.min(), x.max(), y.min(), y.max(), z.min(), z.max()) == (3, 5, 9, 10, 14, 15)


def test_a_field_with_nothing_in_it_keeps_its_cells() -> None:
    field = DenseGrid.empty(17, BOX)
    with torch.no_grad():
        field.values[..., 0, 0] = -20
    field.update_occupancy()
    assert field.occupied.all()


def test_opacity_of_nodes() -> None:
    opacity = 1 - math.exp(-math.log1p(math.exp(EMPTY)) * EXTENT / 32)
    assert math.isclose(raw_of_opacity(opacity, 33), EMPTY, rel_tol=1e-9)


def test_a_finer_grid_shows_the_same() -> None:
    field = random_grid(6, 17, share=1.0)
    with torch.no_grad():
        field.values[..., 0] *= 0.2
        field.values[..., 1:] = field.values[..., 1:].sigmoid()
    finer = field.resized(33)
    assert torch.allclose(finer.values[::2, ::2, ::2], field.values, atol=1e-6)
    rays, _ = random_rays(7)
    coarse, fine = field.render(rays), finer.render(rays)
    # A trilinear function is its own interpolation: only the steps are shorter.
    assert (coarse.transmittance - fine.transmittance).abs().mean() < 0.01
    assert (coarse.colour - fine.colour).abs().mean() < 0.02


def test_the_state_is_all_there_is() -> None:
    field = random_grid(8, 17, 4)
    again = DenseGrid.from_state(field.state())
    rays, jitter = random_rays(9)
    assert torch.equal(again.render(rays, jitter).colour, field.render(rays, jitter).colour)
    assert torch.equal(again.active, field.active)
    assert again.side == field.side == 2.0


def test_a_gradient_is_blurred_by_a_gaussian() -> None:
    """The weights are a Gaussian's values at whole nodes, over their sum; inactive nodes get nothing."""
    size, sigma = 17, 1.2
    gradient = torch.zeros(size, size, size, 1, 4)
    gradient[8, 8, 8, 0] = torch.tensor([1.0, -2.0, 0.5, 4.0])
    occupied = torch.zeros(8, 8, 8, dtype=torch.bool)
    occupied[2:6, 2:6, 3:6] = True
    active = active_nodes(occupied, size)
    blur_rows(gradient, active, sigma)
    weights = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-4, 5)]
    place = (9, 7, 10)
    expected = math.prod(weights[4 + at - 8] / sum(weights) for at in place)
    assert torch.allclose(gradient[place][0], expected * torch.tensor([1.0, -2.0, 0.5, 4.0]), rtol=1e-5)
    rest = gradient.flatten(0, 2).clone()
    rest[active.long()] = 0
    assert not rest.any()
    assert gradient[8, 8, 4].eq(0).all() and gradient[8, 8, 6].ne(0).all()


def test_adam_blurs_as_long_as_it_is_told() -> None:
    sigmas = []

    def blur(step: int) -> float:
        sigmas.append(step)
        return 1.0 if step == 1 else 0.0

    moved = []
    for chosen in (blur, None):
        field = DenseGrid.empty(17, BOX)
        adam = GridAdam(field, lr=0.5, colour_lr=0.5, blur=chosen)
        for _ in range(2):
            before = field.values.detach().clone()
            adam.zero_grad()
            assert field.gradient is not None
            field.gradient[8, 8, 8, 0, 0] = 1.0
            adam.step()
            assert not field.gradient.any()
            moved.append(int((field.values.detach() != before)[..., 0, 0].sum()))
    # Three standard deviations to each side; moments go on moving what was blurred once.
    assert sigmas == [1, 2]
    assert moved == [7**3, 7**3, 1, 1]
