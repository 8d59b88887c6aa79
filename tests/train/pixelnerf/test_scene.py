from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.pixelnerf.small import small_network
from tests.train.pixelnerf.set_of_objects import write_set
from train.pixelnerf.network import PixelNeRF
from train.pixelnerf.objects import load_objects
from train.pixelnerf.scene import Scene, Tuning, picture_loss, random_view, tuned

TUNING = Tuning(steps=30, rays=128, samples=12, lr=1e-3, every=3, side=16)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    write_set(tmp_path / "set")
    objects = load_objects(tmp_path / "set", tmp_path, 32)
    views = torch.tensor([[0, 4]])
    return Scene(objects.pictures(objects.validation[:1], views), objects.poses[objects.validation[0], views[0]][None])


def error(network: PixelNeRF, scene: Scene) -> float:
    with torch.no_grad():
        features = network.encoder(scene.pictures[0])[None]
        draws = torch.Generator().manual_seed(9)
        return float(picture_loss(network, features, scene, Tuning(rays=2000, samples=24), draws))


def test_a_network_fits_its_pictures_better_after_it_and_stays_as_it_is(scene: Scene) -> None:
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    own = tuned(network, scene, TUNING, torch.Generator().manual_seed(0))
    assert error(own, scene) < 0.7 * error(network, scene)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    again = tuned(network, scene, TUNING, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), again.parameters(), strict=True))


def test_the_semantic_loss_draws_views_towards_the_features_of_the_pictures(scene: Scene) -> None:
    def encode(pictures: Tensor) -> Tensor:
        # The mean colour, seen from grey: views of one colour have one direction.
        return pictures.mean((2, 3)) - 0.5

    network, strong = small_network(), Tuning(steps=30, rays=16, samples=12, lr=1e-3, semantic=10.0, every=1, side=16)

    def apart(own: PixelNeRF) -> float:
        draws = torch.Generator().manual_seed(5)
        with torch.no_grad():
            features = own.encoder(scene.pictures[0])[None]
            views = torch.stack([random_view(own, features, scene, strong, draws) for _ in range(6)])
        targets = encode(scene.pictures[0, :, :3] + 1 - scene.pictures[0, :, 3:]).mean(0, keepdim=True)
        return float(1 - torch.cosine_similarity(encode(views), targets).mean())

    with_it = tuned(network, scene, strong, torch.Generator().manual_seed(0), (encode, 24))
    assert apart(with_it) < apart(tuned(network, scene, strong, torch.Generator().manual_seed(0)))
    assert apart(with_it) < apart(network)


def test_a_random_view_is_white_where_the_silhouettes_rule_the_object_out(scene: Scene) -> None:
    network = small_network()
    with torch.no_grad():
        features = network.encoder(scene.pictures[0])[None]
        view = random_view(network, features, scene, TUNING, torch.Generator().manual_seed(0))
    assert view.shape == (3, 16, 16)
    assert torch.equal(view[:, 0, 0], torch.ones(3)) and float(view.min()) >= 0
