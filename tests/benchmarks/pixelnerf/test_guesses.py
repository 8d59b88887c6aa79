from pathlib import Path

import torch

from benchmarks.pixelnerf.guesses import case_of, guess_field, guess_hull, guess_nearest, on_white
from benchmarks.pixelnerf.quality import measure
from tests.pixelnerf.small import small_network
from tests.train.pixelnerf.set_of_objects import write_set
from train.pixelnerf.objects import load_objects


def test_the_hull_of_a_ball_holds_it_and_the_nearest_ball_is_the_next_one(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    objects = load_objects(tmp_path / "set", tmp_path, 32)
    case = case_of(objects, int(objects.validation[0]), 1)
    assert case.truth.shape == (11, 3, 32, 32)
    # From the picture's own camera the hull is the silhouette, grown by a pixel, in the ball's one colour.
    hull = guess_hull(case, case.inputs[0, 0])
    inside = case.pictures[0, 0, 3] > 0.9
    assert torch.allclose(hull[:, inside], on_white(case.pictures[0, 0])[:, inside], atol=1e-3)
    assert hull[:, 0, 0].min() == 1
    # The balls grow from one to the next, and their colours change with them.
    nearest = guess_nearest(objects, objects.train, case, [1, 2])
    assert torch.equal(nearest, on_white(objects.pictures(torch.tensor([4]), torch.tensor([[1, 2]])))[0])
    field = guess_field(small_network(), case, case.poses[0])
    assert field.shape == (3, 32, 32)
    assert field[:, 0, 0].min() == 1
    assert measure(case.truth, case.truth, lambda a, b: 0.0)[1] > 0.999
