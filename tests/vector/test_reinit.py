import pytest
import torch

from runtime.vector.paths import Drawing, Kind, Layout, circle_points, path_areas, random_circles
from runtime.vector.reinit import due, replace_paths, unused_paths
from runtime.vector.scene import VectorScene

SIZE = (120, 120)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixed_scene() -> VectorScene:
    """Return a faint circle, a small one, a fine one of other segments, a faint stroke, one of two contours."""
    kinds = (Kind.NONZERO, Kind.EVENODD, Kind.NONZERO, Kind.STROKE, Kind.NONZERO)
    layout = Layout(kinds, ((4,), (3,), (5,), (2,), (4, 4)))
    centre = torch.tensor([60.0, 60.0])
    points = torch.cat(
        [
            circle_points(centre, 30.0, 4),
            circle_points(centre, 0.5, 3),
            circle_points(centre, 10.0, 5),
            torch.rand(7, 2, generator=generator()) * 120,
            circle_points(centre, 9.0, 4),
            circle_points(centre, 4.0, 4),
        ]
    )
    colours = torch.rand(5, 4, generator=generator(1))
    colours[:, 3] = torch.tensor([0.04, 0.9, 0.8, 0.01, 0.01])
    return VectorScene(Drawing(layout, points[None], colours[None], torch.full((1, 5), 2.0), torch.ones(1, 3), SIZE))


def adam(scene: VectorScene) -> torch.optim.Adam:
    """Return an optimizer that has taken steps, so that it has moments."""
    optimizer = torch.optim.Adam([p for p in scene.parameters() if p.requires_grad], lr=0.0, betas=(0.9, 0.9))
    for seed in range(3):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=generator(seed))
        optimizer.step()
    return optimizer


def test_unused_are_the_faint_and_the_small_closed_paths() -> None:
    scene = mixed_scene()
    assert unused_paths(scene.drawing().detach(), opacity=0.05, area=2.0).tolist() == [
        [True, True, False, False, False]
    ]
    assert unused_paths(scene.drawing().detach(), opacity=0.05, area=0.0).tolist() == [
        [True, False, False, False, False]
    ]
    assert unused_paths(scene.drawing().detach(), opacity=0.0, area=400.0).tolist() == [
        [False, True, True, False, False]
    ]


def test_replaced_paths_are_circles_on_top() -> None:
    scene = mixed_scene()
    before = scene.drawing().clone()
    replace_paths(scene, adam(scene), unused_paths(scene.drawing().detach(), opacity=0.05, area=2.0), generator(5))
    after = scene.drawing().detach()
    assert after.layout.contours == ((5,), (2,), (4, 4), (4,), (3,))
    assert after.layout.kinds[-2:] == (Kind.NONZERO, Kind.NONZERO)
    kept = before.select([2, 3, 4])
    assert torch.equal(after.select([0, 1, 2]).points, kept.points)
    assert torch.equal(after.select([0, 1, 2]).colours, kept.colours)
    assert path_areas(after)[0, 3].item() == pytest.approx(torch.pi * 4.0**2, rel=1e-3)  # radius 20 of 600
    colours = after.colours[0, 3:]
    assert (colours[:, 3] >= 0.7).all() and (colours <= 1.0).all() and not torch.equal(colours[0], colours[1])
    assert torch.equal(after.background, before.background)


def test_moments_follow_their_paths_and_new_ones_have_none() -> None:
    scene = mixed_scene()
    optimizer = adam(scene)
    old = {name: optimizer.state[getattr(scene, name)]["exp_avg"].clone() for name in ("points", "colours")}
    rows = scene.layout
    replace_paths(scene, optimizer, unused_paths(scene.drawing().detach(), opacity=0.05, area=2.0), generator())
    new = {name: optimizer.state[getattr(scene, name)] for name in ("points", "colours")}
    assert torch.equal(new["colours"]["exp_avg"][:, :3], old["colours"][:, 2:])
    assert torch.equal(new["points"]["exp_avg"][:, : 15 + 7 + 24], old["points"][:, rows.path_slice(2).start :])
    for name, first in (("points", 15 + 7 + 24), ("colours", 3)):
        assert new[name]["exp_avg"][:, first:].abs().max() == 0.0
        assert new[name]["exp_avg_sq"][:, first:].abs().max() == 0.0
        assert new[name]["step"].item() == 3.0
    assert optimizer.param_groups[0]["params"][0] is scene.points


def test_nothing_to_replace_changes_nothing_and_draws_nothing() -> None:
    scene, draws = mixed_scene(), generator(2)
    state = {name: value.clone() for name, value in scene.state().items()}
    replace_paths(scene, adam(scene), torch.zeros(1, 5, dtype=torch.bool), draws)
    assert all(torch.equal(state[name], value) for name, value in scene.state().items())
    assert torch.equal(draws.get_state(), generator(2).get_state())


def test_the_picture_changes_only_by_what_was_taken_and_put() -> None:
    scene = VectorScene(random_circles(6, size=SIZE, radius=15.0, generator=generator(3)))
    with torch.no_grad():
        scene.colours[0, 2, 3] = 0.0  # invisible: taking it away changes nothing
    before = scene.render().detach()
    replace_paths(scene, adam(scene), unused_paths(scene.drawing().detach(), opacity=0.05, area=0.0), generator(4))
    with torch.no_grad():
        scene.colours[0, -1, 3] = 0.0
    assert torch.allclose(scene.render().detach(), before, atol=1e-6)


def test_a_batch_is_refused() -> None:
    scene = VectorScene(random_circles(3, size=SIZE, generator=generator(), batch=2))
    with pytest.raises(ValueError, match="one drawing, got a batch of 2"):
        replace_paths(scene, adam(scene), torch.ones(2, 3, dtype=torch.bool), generator())


@pytest.mark.parametrize(
    ("steps", "times"),
    [
        (2000, list(range(50, 1801, 50))),
        (1000, list(range(50, 801, 50))),
        (500, [50, 100, 150, 200, 250, 300]),
        (300, [50, 100]),
        (150, []),
    ],
)
def test_times_of_replacement(steps: int, times: list[int]) -> None:
    assert [step + 1 for step in range(steps) if due(step, steps)] == times
