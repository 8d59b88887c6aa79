"""A bundle with one network trained further: that one computes what was trained, all others are the base's bytes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from export.commands.icons import Icons, run_icons
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from train.latent_diffusion.decoder import Training
from train.latent_diffusion.restore import restore_autoencoder, restore_denoiser


def save_run(folder: Path, network: torch.nn.Module) -> Path:
    """Write a network's weights as a run folder has them."""
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "ema.safetensors")
    return folder


@pytest.fixture(scope="module")
def base() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


def only_difference(base: DiffusionBundle, made: DiffusionBundle) -> list[str]:
    """Return the roles whose files differ."""
    return [
        role
        for role, spec in base.specs.items()
        if {n: f.sha256 for n, f in spec.files.items()} != {n: f.sha256 for n, f in made.specs[role].files.items()}
    ]


def test_a_denoiser_replaces_the_bundles(base: DiffusionBundle, tmp_path: Path) -> None:
    network = restore_denoiser(base)
    with torch.no_grad():
        for parameter in network.unet.conv_out.parameters():
            parameter.mul_(0.5)
    out = tmp_path / "mine"
    assert run_icons(Icons(run=save_run(tmp_path / "run", network), out=out)) == 0
    made = DiffusionBundle.load(str(out), threads=1)
    assert only_difference(base, made) == ["denoiser"]
    assert made.manifest.provenance == base.manifest.provenance
    assert (out / "ATTRIBUTION.md").read_bytes() == (base.folder / "ATTRIBUTION.md").read_bytes()
    generator = torch.Generator().manual_seed(1)
    sample, t = torch.randn(3, 4, 16, 16, generator=generator), torch.tensor([3, 400, 990])
    context = base.text_encoder()(["a cat", "", "a bee"])
    halves = made.denoiser()(sample, t, context) / base.denoiser()(sample, t, context)
    assert float((halves - 0.5).abs().median()) < 1e-3


def test_a_decoder_that_was_trained_beside_its_discriminator_replaces_the_bundles(
    base: DiffusionBundle, tmp_path: Path
) -> None:
    training = Training(restore_autoencoder(base))
    with torch.no_grad():
        training.autoencoder.vae.decoder.conv_out.bias.add_(0.2)  # the picture is half of it
        training.autoencoder.vae.encoder.conv_in.weight.zero_()  # no decoder: it must not come along
    out = tmp_path / "mine"
    assert run_icons(Icons(run=save_run(tmp_path / "run", training), out=out)) == 0
    made = DiffusionBundle.load(str(out), threads=1)
    assert only_difference(base, made) == ["latent_decoder"]
    latents = 0.3 * torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    before, after = base.latent_decoder()(latents), made.latent_decoder()(latents)
    inside = (before > 0.05) & (before < 0.85)
    assert inside.float().mean() > 0.2
    torch.testing.assert_close((after - before)[inside], torch.full_like(before[inside], 0.1), atol=0.01, rtol=0.0)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected tensors, got .*train\.further"):
        run_icons(Icons(run=tmp_path, out=tmp_path / "out"))
    other = save_run(tmp_path / "other", torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="expected a denoiser or a decoder, got neither"):
        run_icons(Icons(run=other, out=tmp_path / "out"))
    (tmp_path / "smaller").mkdir()
    save_file({"unet.conv_out.bias": torch.zeros(4)}, tmp_path / "smaller" / "ema.safetensors")
    with pytest.raises(UserError, match="Missing key"):
        run_icons(Icons(run=tmp_path / "smaller", out=tmp_path / "out"))
    for options in (Icons(), Icons(run=tmp_path, weights=tmp_path)):
        with pytest.raises(UserError, match="expected --weights with all run folders, or --run with one"):
            run_icons(options)
    assert not (tmp_path / "out").exists()
