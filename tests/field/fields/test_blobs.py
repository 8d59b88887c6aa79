import math

import pytest
import torch

from runtime.field.fields.blobs import blob_density, cone_blob, gaussian_blob


def test_blobs_at_some_distances() -> None:
    radius = torch.tensor([0.0, 0.2, 0.5, 1.0])
    assert gaussian_blob(radius.square()).tolist() == pytest.approx(
        [5, 5 * math.exp(-0.5), 5 * math.exp(-3.125), 0], abs=1e-4
    )
    assert cone_blob(radius).tolist() == pytest.approx([10, 6, 0, -10])
    assert blob_density("gaussian", radius)[0].item() == pytest.approx(math.exp(5))
    assert blob_density("cone", radius)[2].item() == pytest.approx(math.log(2))
