import torch

from train.pixelnerf.network import Architecture, Encoder, Field, PixelNeRF, encode_position


def test_the_encoder_has_features_for_every_pixel_and_sees_far() -> None:
    torch.manual_seed(0)
    encoder = Encoder(16)
    pictures = torch.rand(2, 4, 32, 64)
    features = encoder(pictures)
    assert features.shape == (2, 32, 64, 16 + 4)
    assert torch.equal(features[..., 16:], pictures.permute(0, 2, 3, 1))
    changed = pictures.clone()
    changed[:, :, 0, 0] = 0
    # A corner of the picture reaches far into it.
    assert (encoder(changed)[:, 20, 20] != features[:, 20, 20]).any()


def test_positions_are_encoded_as_in_the_paper() -> None:
    code = encode_position(torch.tensor([[0.1, -0.2, 0.3]]), 2)[0]
    expected = [0.1, -0.2, 0.3]
    angles = [1.5 * 0.1, 1.5 * -0.2, 1.5 * 0.3, 3 * 0.1, 3 * -0.2, 3 * 0.3]
    expected += [*torch.tensor(angles).sin().tolist(), *torch.tensor(angles).cos().tolist()]
    assert torch.allclose(code, torch.tensor(expected))


def test_the_field_does_not_depend_on_the_order_of_views() -> None:
    torch.manual_seed(0)
    field = Field(Architecture(width=16))
    features, points = torch.cat([torch.randn(3, 20, 16), torch.rand(3, 20, 4)], dim=2), torch.randn(3, 20, 3)
    values = field(features, points)
    assert values.shape == (20, 4)
    assert (values[:, 0] >= 0).all()
    assert (values[:, 1:] >= 0).all()
    assert (values[:, 1:] <= 1).all()
    order = [2, 0, 1]
    assert torch.allclose(field(features[order], points[order]), values, rtol=1e-5, atol=1e-6)
    # Two equal views are one.
    twice = field(features[:1].repeat(2, 1, 1), points[:1].repeat(2, 1, 1))
    assert torch.allclose(twice, field(features[:1], points[:1]), rtol=1e-5, atol=1e-6)


def test_the_papers_encoder_has_a_resnets_sizes() -> None:
    network = PixelNeRF(Architecture(encoder="resnet34", width=32)).eval()
    assert network.encoder(torch.rand(1, 4, 64, 64)).shape == (1, 64, 64, 32 + 4)
    # torchvision's resnet34 has 8,170,304 weights up to its third stage.
    count = sum(value.numel() for name, value in network.encoder.named_parameters() if not name.startswith("mix"))
    assert count == 8_170_304


def test_an_untrained_fields_colour_is_that_of_the_pixels() -> None:
    field = Field(Architecture(width=8))
    torch.nn.init.zeros_(field.out.weight)
    torch.nn.init.zeros_(field.out.bias)
    pixels = torch.tensor([[[0.4, 0.2, 0.1, 0.5]], [[0.5, 0.5, 0.0, 1.0]]])  # straight (.8, .4, .2), and (.5, .5, 0)
    features = torch.cat([torch.randn(2, 1, 8), pixels], dim=2)
    colour = field(features, torch.zeros(2, 1, 3))[0, 1:]
    assert torch.allclose(colour, torch.tensor([0.9 / 1.5, 0.7 / 1.5, 0.1 / 1.5]), atol=1e-5)
