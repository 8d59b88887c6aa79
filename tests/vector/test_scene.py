import pytest
import torch

from runtime.errors import UserError
from runtime.vector.paths import Kind, Layout, pixel_grid, random_circles, random_strokes
from runtime.vector.raster import rasterize
from runtime.vector.scene import MIN_WIDTH, VectorScene


def make_scene(**options) -> VectorScene:
    generator = torch.Generator().manual_seed(0)
    circles = random_circles(2, radius=6.0, size=(24, 32), generator=generator, batch=2)
    strokes = random_strokes(1, width=2, size=(24, 32), generator=generator, batch=2)
    return VectorScene(circles.append(strokes), **options)


def test_only_chosen_tensors_learn():
    scene = make_scene(train=("points", "widths"))
    scene.render().square().sum().backward()
    assert scene.points.grad is not None
    assert scene.widths.grad[:, :2].abs().sum() == 0, "fills have no width"
    assert scene.widths.grad[:, 2].abs().min() > 0
    assert scene.colours.grad is None
    with pytest.raises(UserError, match=r"to train, got \['colors'\]"):
        make_scene(train=("colors",))


def test_render_is_rasterize_and_copies_its_start():
    generator = torch.Generator().manual_seed(0)
    drawing = random_circles(2, radius=6.0, size=(24, 32), generator=generator)
    scene = VectorScene(drawing)
    drawing.points.zero_()
    assert scene.points.abs().max() > 1
    assert torch.equal(scene.render((12, 16)), rasterize(scene.drawing(), (12, 16)))


def test_clamp():
    scene = make_scene()
    with torch.no_grad():
        scene.colours += torch.tensor((2.0, -2.0, 0.0, 0.0))
        scene.background -= 5
        scene.widths -= 5
    scene.clamp_()
    assert (scene.colours[..., 0] == 1).all()
    assert (scene.colours[..., 1] == 0).all()
    assert (scene.background == 0).all()
    assert torch.equal(scene.widths, torch.full((2, 3), MIN_WIDTH))


def test_state_round_trip_is_exact():
    scene = make_scene(train=("colours",))
    again = VectorScene.from_state({name: tensor.clone() for name, tensor in scene.state().items()})
    assert again.layout == Layout((Kind.NONZERO, Kind.NONZERO, Kind.STROKE), ((4,), (4,), (5,)))
    assert again.size == (24, 32)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in scene.parameters()]
    assert torch.equal(again.render(), scene.render())
    assert all(torch.equal(a, b) for a, b in zip(again.state().values(), scene.state().values(), strict=True))
    scene.target = torch.rand(3, 24, 32)
    aimed = VectorScene.from_state(scene.state())
    assert aimed.target is not None and torch.equal(aimed.target, scene.target) and again.target is None
    squares = VectorScene(pixel_grid(2, size=(4, 4), generator=torch.Generator().manual_seed(1)))
    assert VectorScene.from_state(squares.state()).layout == squares.layout


def test_state_names_what_is_missing():
    state = make_scene().state()
    del state["kinds"], state["size"]
    with pytest.raises(UserError, match="missing kinds, size"):
        VectorScene.from_state(state)


DAMAGE = {
    "a size of one number": {"size": torch.tensor([24])},
    "no size": {"size": torch.tensor([0, 0])},
    "a fractional size": {"size": torch.tensor([24.0, 32.0])},
    "one flag": {"train": torch.tensor([1])},
    "an unknown kind": {"kinds": torch.tensor([0, 0, 9])},
    "kinds in a table": {"kinds": torch.tensor([[0, 0, 2]])},
    "too few contours": {"contour_segments": torch.tensor([4, 4])},
    "too many contours": {"contour_segments": torch.tensor([4, 4, 5, 5])},
    "less than no contours": {"contour_counts": torch.tensor([1, 1, -1])},
    "other points": {"points": torch.zeros(2, 5, 2)},
    "a target of another size": {"target": torch.zeros(3, 32, 24)},
    "whole colours": {"colours": torch.zeros(2, 3, 4, dtype=torch.int64)},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_state_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected"):
        VectorScene.from_state(make_scene().state() | DAMAGE[name])
