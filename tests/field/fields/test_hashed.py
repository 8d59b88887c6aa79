"""Hashed grids: tiny-cuda-nn's layout and hash, the kernels against their twin, and the field on them."""

import math

import pytest
import torch

from runtime.field.cameras import Rays
from runtime.field.fields.encodings import spherical_harmonics
from runtime.field.fields.hashed import CELL, STEP, HashedGrid, encode
from runtime.field.march import EXTENT
from runtime.field.reference.grid import OPAQUE, steps_of
from runtime.field.reference.hashing import HashLayout, entries_of
from runtime.field.reference.hashing import encode as twin
from runtime.field.volume import Rendering, composite, opacity, weights_of
from tests.field.grids import generator
from tests.tolerance import FIELD_TWIN, FIELD_TWIN_VJP, FLOAT32_ROUNDING

SMALL = HashLayout(levels=4, features=2, log2_size=9, base=4, growth=1.7)


def test_the_layout_of_instant_ngp() -> None:
    layout = HashLayout()
    assert layout.scales == [15, 31, 63, 127, 255, 511, 1023, 2047]
    assert layout.resolutions == [16, 32, 64, 128, 256, 512, 1024, 2048]
    assert layout.sizes == [4096, 32768, 262144, *[524288] * 5]
    assert layout.hashed == [False, False, False, *[True] * 5]
    assert layout.offsets[-1] == 4096 + 32768 + 262144 + 5 * 524288
    # 3 nodes along an axis are 27, rounded up to 32.
    assert HashLayout(levels=1, base=3).sizes == [32]


def test_nodes_are_hashed_as_words_of_32_bits() -> None:
    layout = HashLayout(levels=4)
    draws = torch.randint(0, 200, (100, 3), generator=generator(0))
    for (x, y, z), entry in zip(draws.tolist(), entries_of(layout, 3, draws).tolist(), strict=True):
        word = x ^ (y * 2654435761 % 2**32) ^ (z * 805459861 % 2**32)
        assert entry == word % 2**19
    # Worked out by hand: 2654435761 mod 2^19 is 489905, and 805459861 mod 2^19 is 153493.
    assert entries_of(layout, 3, torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1]])).tolist() == [1, 489905, 153493]
    assert entries_of(layout, 0, torch.tensor([[1, 2, 3]])).tolist() == [1 + 16 * (2 + 16 * 3)]
    # Beyond the last node along an axis a dense index runs on, as in the original.
    assert entries_of(layout, 0, torch.tensor([[16, 15, 15]])).tolist() == [0]


def test_a_node_has_its_own_features_and_the_middle_the_mean() -> None:
    layout = HashLayout(levels=1, features=1, base=5)
    table = torch.arange(layout.offsets[-1], dtype=torch.float32)[:, None]
    # Node 2 of the axis is at (2 - 0.5) / 4.
    at = torch.tensor([[1.5 / 4, 0.5 / 4, 2.5 / 4]])
    assert twin(table, layout, at).tolist() == [[2 + 5 * (1 + 5 * 3)]]
    middle = torch.tensor([[2.0 / 4, 0.5 / 4, 2.5 / 4]])
    assert math.isclose(twin(table, layout, middle).item(), 2.5 + 5 * (1 + 5 * 3), rel_tol=1e-6)


def test_kernels_have_the_twins_features_and_gradients() -> None:
    draws = generator(1)
    table = torch.randn(SMALL.offsets[-1], 2, generator=draws)
    points = torch.rand(2500, 3, generator=draws)
    points[0], points[1] = 0.0, 1.0
    upstream = torch.randn(2500, SMALL.width, generator=draws)
    ours, theirs = table.clone().requires_grad_(), table.clone().requires_grad_()
    seen, expected = encode(ours, SMALL, points), twin(theirs, SMALL, points)
    assert torch.allclose(seen, expected, atol=FLOAT32_ROUNDING)
    (seen * upstream).sum().backward()
    (expected * upstream).sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=10 * FLOAT32_ROUNDING)


def test_the_same_bits_on_any_number_of_threads() -> None:
    draws = generator(2)
    table = torch.randn(SMALL.offsets[-1], 2, generator=draws)
    points = torch.rand(5000, 3, generator=draws)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            values = table.clone().requires_grad_()
            seen = encode(values, SMALL, points)
            seen.square().sum().backward()
            results.append((seen.detach(), values.grad))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_spherical_harmonics_are_orthonormal_and_right_along_the_axes() -> None:
    # Gauss and Legendre's heights times equal angles integrate these products exactly.
    nodes, weights = (torch.from_numpy(array) for array in __import__("numpy").polynomial.legendre.leggauss(8))
    angle = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    z, phi = (grid.flatten() for grid in torch.meshgrid(nodes, angle, indexing="ij"))
    flat = (1 - z * z).sqrt()
    harmonics = spherical_harmonics(torch.stack([flat * phi.cos(), flat * phi.sin(), z], 1), 4)
    area = weights.repeat_interleave(16) * (2 * math.pi / 16)
    assert torch.allclose(harmonics.T @ (area[:, None] * harmonics), torch.eye(16, dtype=torch.float64), atol=1e-12)
    axes = spherical_harmonics(torch.eye(3, dtype=torch.float64), 2)
    one = math.sqrt(3 / (4 * math.pi))
    assert torch.allclose(axes[:, 1:], one * torch.tensor([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]).double())
    with pytest.raises(ValueError, match="degree of 1 to 4, got 5"):
        spherical_harmonics(torch.eye(3), 5)


def field_of(*, network: bool) -> HashedGrid:
    layout = HashLayout(levels=2, features=4, log2_size=10, base=4)
    return HashedGrid(layout, nodes=129, network=network, generator=generator(3))


def test_a_uniform_field_lets_through_what_beer_and_lambert_say() -> None:
    field = field_of(network=False)
    with torch.no_grad():
        field.table.zero_()
        field.table[:, 0] = 0.5  # two levels: 1 above the raw density of a new field
    rays = Rays(torch.tensor([[0.0, 0, 4], [0, 0, 4]]), torch.tensor([[0.0, 0, -1], [0, 0, 1]]))
    shown = field.render(rays)
    density = math.log1p(math.exp(-3.0)) * EXTENT / 2
    assert math.isclose(shown.transmittance[0].item(), math.exp(-2 * density), rel_tol=1e-3)
    assert shown.transmittance[1].item() == 1.0
    assert torch.allclose(shown.colour[0], (1 - shown.transmittance[0]) * torch.full((3,), 0.5), atol=1e-5)
    assert field.raw_density().shape == (129, 129, 129)
    assert torch.allclose(field.colour_at(torch.zeros(2, 3)), torch.full((2, 3), 0.5))


@pytest.mark.parametrize("network", [False, True])
def test_pictures_are_the_same_without_gradients_and_in_parts(network: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    field = field_of(network=network)
    with torch.no_grad():
        field.table.mul_(3e4)
    aims = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator(4)) * 0.1 + torch.tensor([0, 0, -1.0]))
    rays = Rays(torch.tensor([[0.0, 0, 4]]).expand(50, 3), aims)
    with torch.no_grad():
        plain = field.render(rays)
        monkeypatch.setattr("runtime.field.fields.hashed.RAYS_AT_ONCE", 7)
        parts = field.render(rays)
    shown = field.render(rays)
    for name in ("colour", "transmittance", "depth", "distortion"):
        assert torch.allclose(getattr(plain, name), getattr(shown, name), atol=1e-6), name
        assert torch.allclose(getattr(parts, name), getattr(shown, name), atol=1e-6), name
    assert shown.transmittance.min() < 0.9
    shown.colour.sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in field.parameters())


def all_steps(field: HashedGrid, rays: Rays, jitter: torch.Tensor) -> Rendering:
    """What rays show by brute force: the values at all steps, those in empty cells left out afterwards."""
    t, inside, at = steps_of(torch.full((3,), -1.0), 2.0, field.nodes, rays, jitter, STEP)
    cells = (at / CELL).long().clamp(0, field.cells - 1)
    inside = inside & (field.occupied[tuple(cells.unbind(2))] > 0)
    raw, features = field.values((at * field.world - 1).clamp(-1, 1).flatten(0, 1))
    alpha = torch.where(inside, opacity(torch.nn.functional.softplus(raw).view(t.shape), field.length), 0.0)
    alpha = torch.where(weights_of(alpha.detach())[1] < OPAQUE, 0.0, alpha)
    directions = rays.directions[:, None].expand_as(at).flatten(0, 1)
    colours = field.colours_of(features, directions).view(at.shape)
    return composite(alpha, colours, t * field.world, unit=2.0, length=STEP * field.world)


@pytest.mark.parametrize("network", [False, True])
def test_leaps_and_early_ends_change_no_picture_and_no_gradient(network: bool) -> None:
    field, draws = field_of(network=network), generator(5)
    with torch.no_grad():
        field.table.normal_(0.0, 60.0 if network else 6.0, generator=draws)
        field.occupied.copy_(torch.rand(field.occupied.shape, generator=draws) < 0.3)
    field.derive()
    origins = torch.nn.functional.normalize(torch.randn(80, 3, generator=draws)) * 3
    origins[:5] *= 0.1  # cameras in the box
    aims = torch.nn.functional.normalize(torch.randn(80, 3, generator=draws) * 0.4 - origins)
    rays, jitter = Rays(origins, aims), torch.rand(80, generator=draws)
    shown, expected = field.render(rays, jitter), all_steps(field, rays, jitter)
    assert shown.transmittance.min() < OPAQUE
    assert ((shown.transmittance > 0.05) & (shown.transmittance < 0.95)).any()
    sums = []
    for picture in (shown, expected):
        field.zero_grad()
        parts = (picture.colour, picture.transmittance, picture.depth, picture.distortion)
        torch.stack([(k + 1) * part.square().sum() for k, part in enumerate(parts)]).sum().backward()
        sums.append([p.grad.clone() for p in field.parameters() if p.grad is not None])
    for name in ("colour", "transmittance", "depth", "distortion"):
        assert torch.allclose(getattr(shown, name), getattr(expected, name), atol=FIELD_TWIN), name
    for ours, theirs in zip(*sums, strict=True):
        assert torch.allclose(ours, theirs, atol=FIELD_TWIN_VJP * float(theirs.abs().max()))


def test_a_checkpoints_empty_cells_are_leapt_over() -> None:
    field, other = field_of(network=False), field_of(network=False)
    with torch.no_grad():
        field.table.fill_(3.0)
        field.occupied.zero_()
    other.load_state_dict(field.state_dict())
    ray = Rays(torch.tensor([[0.0, 0, 4]]), torch.tensor([[0.0, 0, -1]]))
    assert other.render(ray).transmittance.item() == 1.0
    assert other.render(Rays(ray.origins[:0], ray.directions[:0])).colour.shape == (0, 3)


def test_what_lies_behind_an_opaque_place_is_not_seen() -> None:
    field = field_of(network=False)
    with torch.no_grad():
        field.table.zero_()
        field.table[:, 0] = 3.0
    shown = field.render(Rays(torch.tensor([[0.0, 0, 4]]), torch.tensor([[0.0, 0, -1]])))
    assert 0 < shown.transmittance.item() < 1e-3
    assert math.isclose(shown.depth.item(), 3.0, abs_tol=0.05)


def test_empty_cells_are_found_and_never_all() -> None:
    field = field_of(network=False)
    with torch.no_grad():
        field.table.zero_()
    field.update_occupancy()
    assert field.occupied.all()
    with torch.no_grad():
        field.table[:, 0] = -10.0
        field.table[1 + 4 * (1 + 4 * 1), 0] = 1000.0  # the coarse level's node (1, 1, 1), a sixth along each axis
    field.update_occupancy()
    assert field.occupied[5, 5, 5] == 1
    assert field.occupied[-1, -1, -1] == 0
    assert 0 < int(field.occupied.sum()) < field.occupied.numel() / 4
