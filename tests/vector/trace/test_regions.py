import numpy as np

from runtime.vector.trace.regions import border_colour, components, filled_mask, find_patches, largest_hole, opened


def canvas(colour=(1.0, 1.0, 1.0), side=64) -> np.ndarray:
    return np.broadcast_to(np.array(colour), (side, side, 3)).copy()


def disc(side, row, column, radius) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.hypot(rows - row, columns - column) < radius


def test_the_borders_most_frequent_colour_is_exact():
    picture = canvas((0.3, 0.61, 0.9))
    picture[:20] = (1, 0, 0)
    assert border_colour(picture).tolist() == [0.3, 0.61, 0.9]


def test_components_are_the_four_connected_regions_of_equal_value():
    values = np.array([[0, 0, 1], [1, 0, 1], [0, 1, -1]])
    labels = components(values)
    assert labels[2, 2] == 0
    groups = {tuple(map(tuple, np.argwhere(labels == label))) for label in range(1, labels.max() + 1)}
    assert groups == {
        ((0, 0), (0, 1), (1, 1)),
        ((0, 2), (1, 2)),
        ((1, 0),),
        ((2, 0),),
        ((2, 1),),
    }


def test_opening_parts_a_handle_from_a_disc():
    values = disc(64, 32, 20, 12).astype(int)
    values[30:33, 20:60] = 1
    assert len(np.unique(components(opened(values)))) == 3  # thin parts, outside, disc
    assert (opened(values)[31, 45:55] == -1).all()


def test_a_ring_has_a_hole_and_a_disc_none():
    ring = disc(64, 32, 32, 20) & ~disc(64, 32, 32, 14)
    assert (largest_hole(ring) == disc(64, 32, 32, 14)).all()
    assert largest_hole(disc(64, 32, 32, 20)) is None


def test_the_largest_error_comes_first_and_gains_are_what_painting_gains():
    target, white = canvas(), canvas()
    target[disc(64, 20, 20, 15)] = (1, 0, 0)
    target[disc(64, 48, 48, 8)] = (0, 0, 1)
    patches = find_patches(target, white, 8, segments=4, min_gain=1e-6)
    assert patches[0].colour.tolist() == [1, 0, 0] and patches[1].colour.tolist() == [0, 0, 1]
    drawn = white
    for patch in patches:
        before = ((drawn - target) ** 2).sum()
        drawn = drawn.copy()
        drawn[filled_mask(patch.points, (64, 64))] = patch.colour
        np.testing.assert_allclose(before - ((drawn - target) ** 2).sum(), patch.gain, atol=1e-9)
    assert ((drawn - target) ** 2).mean() < 0.02 * ((white - target) ** 2).mean()


def test_an_outline_is_drawn_as_a_disc_under_a_disc():
    target = canvas()
    target[disc(64, 32, 32, 24)] = (0.2, 0.2, 0.2)
    target[disc(64, 32, 32, 21)] = (1, 1, 1)
    patches = find_patches(target, canvas(), 2, segments=4, min_gain=1e-6)
    assert [round(float(patch.colour[0]), 2) for patch in patches] == [0.2, 1.0]
    assert patches[0].gain < 0 < patches[0].gain + patches[1].gain


def test_a_picture_that_is_right_already_gets_no_path():
    assert find_patches(canvas(), canvas(), 4, segments=4, min_gain=0.0) == []


def test_a_mask_is_of_the_pixels_whose_middle_is_inside():
    points = np.array([(10.4, 5.6), (12, 5.6), (18, 5.6), (20.6, 5.6), (20.6, 7), (20.6, 12), (20.6, 14.4)])
    points = np.concatenate([points, [(18, 14.4), (12, 14.4), (10.4, 14.4), (10.4, 12), (10.4, 7)]])
    expected = np.zeros((20, 30), bool)
    expected[6:14, 10:21] = True
    assert (filled_mask(points, (20, 30)) == expected).all()
    assert filled_mask(points - [15, 10], (20, 30))[:4, :6].all()  # cut off by the picture's edge
    assert not filled_mask(points + 100, (20, 30)).any()
