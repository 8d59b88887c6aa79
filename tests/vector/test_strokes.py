import torch

from runtime.vector.paths import Kind
from runtime.vector.strokes import STEP, random_pens


def test_pens_are_the_authors() -> None:
    drawing = random_pens(600, width=1.5, size=(100, 200), generator=torch.Generator().manual_seed(0))
    layout = drawing.layout
    assert set(layout.kinds) == {Kind.STROKE}
    counts = [contours[0] for contours in layout.contours]
    # One, two or three segments, each of a third of the strokes: 200 with a deviation of 11.5.
    assert set(counts) == {1, 2, 3} and all(150 < counts.count(n) < 250 for n in (1, 2, 3))
    unit = drawing.points[0] / torch.tensor([200.0, 100.0])
    starts = torch.stack([unit[layout.path_slice(path)][0] for path in range(600)])
    assert starts.min() >= 0 and starts.max() <= 1 and (starts.mean(0) - 0.5).abs().max() < 0.05
    steps = torch.cat([unit[layout.path_slice(path)].diff(dim=0) for path in range(600)])
    assert steps.abs().max() <= STEP / 2 + 1e-5
    # The variance of U(-0.05, 0.05).
    assert (steps.var(0) / (STEP**2 / 12) - 1).abs().max() < 0.06
    assert drawing.colours.min() >= 0 and drawing.colours.max() <= 1
    assert (drawing.colours.mean((0, 1)) - 0.5).abs().max() < 0.05  # opacity, too
    assert drawing.widths.unique().tolist() == [1.5] and drawing.background.unique().tolist() == [1.0]
