"""The compiled march against its twin, closed forms, and itself on other threads."""

import dataclasses
import math

import pytest
import torch

from runtime.errors import UserError
from runtime.field.cameras import Rays
from runtime.field.fields.grid import DenseGrid
from runtime.field.march import EXTENT, march
from tests.field.grids import BOX, SHOWN, generator, random_grid, random_rays, twin
from tests.tolerance import FIELD_CLOSED_FORM, FIELD_TWIN, FIELD_TWIN_VJP


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("size", [9, 17, 50])
def test_values_and_gradients_equal_the_twins(groups: int, size: int) -> None:
    field = random_grid(size + groups, size, groups)
    rays, jitter = random_rays(size, 60 if size == 50 else 200)
    values = field.values.detach().double().requires_grad_()
    exact = twin(field, values, rays, jitter, normals=True)
    shown = field.render(rays, jitter, normals=True)
    draws = generator(3)
    loss, exact_loss = torch.zeros(()), torch.zeros((), dtype=torch.float64)
    for name in SHOWN:
        ours, theirs = getattr(shown, name), getattr(exact, name)
        assert torch.allclose(ours.double(), theirs, atol=FIELD_TWIN, rtol=FIELD_TWIN), name
        upstream = torch.randn(theirs.shape, generator=draws)
        loss = loss + (ours * upstream).sum()
        exact_loss = exact_loss + (theirs * upstream.double()).sum()
    loss.backward()
    exact_loss.backward()
    assert field.values.grad is not None and values.grad is not None
    largest = values.grad.abs().max().item()
    assert largest > 0.1
    assert torch.allclose(field.values.grad.double(), values.grad, rtol=0, atol=FIELD_TWIN_VJP * largest)


@pytest.mark.parametrize("step", [0.25, 1.0, 1.7])
def test_samples_may_be_any_number_of_nodes_apart(step: float) -> None:
    field = random_grid(7)
    rays, jitter = random_rays(8)
    values = field.values.detach().double().requires_grad_()
    exact = twin(field, values, rays, jitter, normals=True, step=step)
    shown = field.render(rays, jitter, normals=True, step=step)
    with torch.no_grad():
        looked = field.render(rays, jitter, normals=True, step=step)
    for name in SHOWN:
        theirs = getattr(exact, name)
        assert torch.allclose(getattr(shown, name).double(), theirs, atol=FIELD_TWIN, rtol=FIELD_TWIN), name
        assert torch.equal(getattr(looked, name), getattr(shown, name)), name
    exact.colour.square().sum().backward()
    shown.colour.square().sum().backward()
    assert field.values.grad is not None and values.grad is not None
    largest = values.grad.abs().max().item()
    assert torch.allclose(field.values.grad.double(), values.grad, rtol=0, atol=FIELD_TWIN_VJP * largest)


@pytest.mark.parametrize("name", SHOWN)
def test_each_output_alone_has_the_twins_gradient(name: str) -> None:
    field = random_grid(7)
    rays, jitter = random_rays(8)
    values = field.values.detach().double().requires_grad_()
    getattr(twin(field, values, rays, jitter, normals=True), name).square().sum().backward()
    getattr(field.render(rays, jitter, normals=True), name).square().sum().backward()
    assert field.values.grad is not None and values.grad is not None
    largest = values.grad.abs().max().item()
    assert torch.allclose(field.values.grad.double(), values.grad, rtol=0, atol=FIELD_TWIN_VJP * largest)


def test_the_gradient_is_that_of_central_differences() -> None:
    """Blind to nothing that the twin and the kernel share: differences of the twin itself, in float64."""
    field = random_grid(11, 9)
    rays, jitter = random_rays(12, 80)
    field.render(rays, jitter).on(torch.ones(1, 3)).sum().backward()
    values = field.values.detach().double()
    assert field.values.grad is not None
    strongest = field.values.grad.abs().flatten().topk(6).indices
    for place in strongest.tolist():
        totals = []
        for sign in (1, -1):
            moved = values.clone()
            moved.view(-1)[place] += sign * 1e-5
            totals.append(twin(field, moved, rays, jitter, normals=False).on(torch.ones(1, 3)).sum().item())
        difference = (totals[0] - totals[1]) / 2e-5
        assert math.isclose(field.values.grad.view(-1)[place].item(), difference, rel_tol=1e-3)


def solid(raw: float, size: int = 33) -> DenseGrid:
    values = torch.zeros(size, size, size, 1, 4)
    values[..., 0] = raw
    values[..., 1:] = torch.tensor([0.2, 0.4, 0.8])
    cells = (size - 1) // 2
    return DenseGrid(values, torch.ones(cells, cells, cells, dtype=torch.uint8), BOX)


def test_a_full_box_lets_through_what_beer_and_lambert_say() -> None:
    field = solid(-3.0)
    centre = BOX[:3] + 1
    # Along an axis, the samples of a ray with jitter 0.5 stand in the middles of 64 equal parts of the box.
    rays = Rays(centre + torch.tensor([[0.0, 0, 3], [3, 0, 0]]), torch.tensor([[0.0, 0, -1], [-1, 0, 0]]))
    shown = field.render(rays)
    density = math.log1p(math.exp(-3.0)) * EXTENT / 2
    passed = math.exp(-density * 2)
    assert torch.allclose(shown.transmittance, torch.full((2,), passed), rtol=1e-4, atol=1e-6)
    assert torch.allclose(shown.colour, (1 - passed) * torch.tensor([0.2, 0.4, 0.8]).expand(2, 3), atol=1e-5)
    # Mean distance: 2 to the face, and the mean of an exponential that is cut off at the far face.
    depth = 2 * (1 - passed) + (1 - passed * (1 + density * 2)) / density
    assert torch.allclose(shown.depth, torch.full((2,), depth), atol=2e-3)


def test_a_ray_ends_where_a_thousandth_of_the_light_passes() -> None:
    field = solid(3.0)
    rays = Rays(BOX[:3] + 1 + torch.tensor([[0.0, 0, 3]]), torch.tensor([[0.0, 0, -1]]))
    shown = field.render(rays)
    a_step = math.exp(-math.log1p(math.exp(3.0)) * 0.5 * EXTENT / 32)
    steps = math.ceil(math.log(1e-3) / math.log(a_step))
    assert math.isclose(shown.transmittance.item(), a_step**steps, rel_tol=1e-4)


def test_a_ball_has_normals_and_a_silhouette() -> None:
    size = 65
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
    values = torch.zeros(size, size, size, 1, 4)
    values[..., 0, 0] = ((0.6 - radius) * 200).clamp(-20, 20)
    cells = torch.ones(16, 16, 16, dtype=torch.uint8)
    field = DenseGrid(values, cells, torch.tensor([-1.0, -1, -1, 2]))
    offsets = torch.tensor([0.0, 0.2, 0.4, 0.55, 0.65, 0.9])
    origins = torch.stack([offsets, torch.zeros(6), torch.full((6,), 4.0)], 1)
    rays = Rays(origins, torch.tensor([[0.0, 0, -1]]).expand(6, 3).contiguous())
    shown = field.render(rays, normals=True)
    assert (shown.alpha[:4] > 0.99).all()
    assert (shown.alpha[4:] < FIELD_CLOSED_FORM).all()
    height = (0.36 - offsets[:4].square()).sqrt()
    assert torch.allclose(shown.depth[:4], 4 - height, atol=0.03)
    assert shown.normal is not None
    expected = torch.stack([offsets[:4], torch.zeros(4), height], 1) / 0.6
    assert torch.allclose(torch.nn.functional.normalize(shown.normal[:4], dim=1), expected, atol=0.03)


def test_the_same_bits_on_any_number_of_threads() -> None:
    field = random_grid(21, 33)
    rays, jitter = random_rays(22, 3000)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            field.values.grad = None
            shown = field.render(rays, jitter, normals=True)
            torch.stack([getattr(shown, name).sum() for name in SHOWN]).sum().backward()
            assert field.values.grad is not None
            results.append((shown, field.values.grad.clone()))
    finally:
        torch.set_num_threads(before)
    first = results[0]
    for shown, gradient in results[1:]:
        assert torch.equal(gradient, first[1])
        assert all(torch.equal(getattr(shown, name), getattr(first[0], name)) for name in SHOWN)


def test_too_little_room_changes_nothing() -> None:
    field = random_grid(31, 33, share=1.0)
    with torch.no_grad():
        field.values[..., 0] = -6.0
    rays, jitter = random_rays(32)
    wide = field.render(rays, jitter)
    wide.colour.sum().backward()
    assert field.values.grad is not None
    before = field.values.grad.clone()
    field.values.grad = None
    field.room.capacity = 128
    field.room.free.clear()
    narrow = field.render(rays, jitter)
    narrow.colour.sum().backward()
    assert field.room.capacity > 128
    assert torch.equal(narrow.colour, wide.colour)
    assert torch.equal(field.values.grad, before)


def test_without_gradients_the_picture_is_the_same() -> None:
    field = random_grid(41)
    rays, jitter = random_rays(42)
    with torch.no_grad():
        plain = field.render(rays, jitter, normals=True)
    shown = field.render(rays, jitter, normals=True)
    assert all(torch.equal(getattr(plain, name), getattr(shown, name)) for name in SHOWN)


def test_a_picture_in_parts_is_the_same_in_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    field = random_grid(43)
    rays, jitter = random_rays(44, 1000)
    with torch.no_grad():
        whole = field.render(rays, jitter, normals=True)
        field.room.free.clear()
        monkeypatch.setattr("runtime.field.march.JOBS_AT_ONCE", 1)
        parts = field.render(rays, jitter, normals=True)
    assert all(torch.equal(getattr(parts, name), getattr(whole, name)) for name in SHOWN)
    # One ray's samples: four for each node along the diagonal, and a few more.
    assert len(field.room.free[0]) < 4 * 17 * 3**0.5 + 10


def test_backward_twice_gives_the_same() -> None:
    field = random_grid(51)
    rays, jitter = random_rays(52)
    loss = field.render(rays, jitter).colour.square().sum()
    first, second = (torch.autograd.grad(loss, field.values, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_two_pictures_at_once_do_not_share_their_samples() -> None:
    field = random_grid(61)
    (rays, jitter), (others, _) = random_rays(62), random_rays(63)
    alone = torch.autograd.grad(field.render(rays, jitter).colour.square().sum(), field.values)[0]
    loss = field.render(rays, jitter).colour.square().sum()
    field.render(others, jitter).colour.square().sum().backward()
    assert torch.equal(torch.autograd.grad(loss, field.values)[0], alone)


def test_rays_beside_the_box_and_none_at_all() -> None:
    field = random_grid(71)
    away = Rays(torch.tensor([[5.0, 5, 5]]), torch.tensor([[0.0, 0, 1]]))
    shown = field.render(away, normals=True)
    assert shown.transmittance.tolist() == [1.0]
    assert shown.colour.tolist() == [[0.0, 0.0, 0.0]]
    shown.colour.sum().backward()
    assert field.values.grad is not None
    assert field.values.grad.abs().max() == 0
    none = field.render(Rays(torch.zeros(0, 3), torch.zeros(0, 3)))
    assert none.colour.shape == (0, 3)


def test_a_field_of_another_dtype_is_refused() -> None:
    field = random_grid(81)
    rays, _ = random_rays(82, 4)
    with pytest.raises(UserError, match="float32 values on the CPU or on a card, got"):
        march(dataclasses.replace(field.grid(), values=field.values.detach().double()), rays)
