import torch

from benchmarks.embeddings import pairs_of, separation


def test_pairs_and_their_separation() -> None:
    # Two scenes of two views; the first scene's are alike, the second's are perpendicular.
    features = torch.tensor([[[1.0, 0], [2, 0]], [[1, 0], [0, 3]]])
    centres = torch.tensor([[[0.0, 0, 0], [3, 4, 0]], [[0, 0, 1], [0, 0, 3]]])
    pairs = pairs_of(features, centres)
    assert pairs.cosines.tolist() == [1, 1, 0, 1, 0, 0]
    assert pairs.same.tolist() == [True, False, False, False, False, True]
    assert pairs.distances[0] == 5 and pairs.distances[-1] == 2
    # Within: 1 and 0; across: 1, 0, 1, 0. The first ties with two and beats two, the second ties with two.
    assert separation(pairs) == ((2 + 1) / 4 + 1 / 4) / 2
