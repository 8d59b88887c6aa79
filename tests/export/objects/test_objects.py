"""The bundle of a camera-aware denoiser: what it borrows, what it computes, and how much it adds."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from export.commands.objects import Objects, run_objects
from export.objects import Seen, borrow, borrowed_network, load_dual, load_source, make_manifest
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.guidance.prompt import Prompt
from runtime.guidance.views import with_cameras
from train.clip.restore import restore_dual
from train.latent_diffusion.camera_weights import fill, make_denoiser


@pytest.fixture(scope="module")
def base() -> DiffusionBundle:
    return DiffusionBundle.load("icons", threads=1)


@pytest.fixture(scope="module")
def run(base: DiffusionBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder whose denoiser looks at its camera, a little."""
    torch.manual_seed(0)
    network = make_denoiser(base)
    torch.nn.init.normal_(network.camera.project.weight, std=0.05)
    folder = tmp_path_factory.mktemp("run")
    save_file({n: p.detach() for n, p in network.named_parameters() if p.requires_grad}, folder / "ema.safetensors")
    return folder


def test_files_of_the_base_are_named_by_place_and_hash(base: DiffusionBundle) -> None:
    file = borrow(base, "text_encoder", "tokenizer.json")
    original = base.specs["text_encoder"].files["tokenizer.json"]
    assert (file.bundle, file.path) == ("icons", "text_encoder/tokenizer.json")
    assert (file.size, file.sha256) == (original.size, original.sha256)
    network = borrowed_network(base, "latent_encoder")
    assert network.files == {}
    assert network.borrowed.keys() == base.specs["latent_encoder"].files.keys()


def test_the_weights_of_a_run_are_in_the_network(base: DiffusionBundle, run: Path) -> None:
    source = load_source(run, "icons")
    assert float(source.network.camera.project.weight.std()) == pytest.approx(0.05, rel=0.02)
    assert make_manifest(source, "seen").provenance.startswith("The denoiser of the bundle icons, trained on by")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected the averaged weights of python -m train\.latent_diffusion\.teacher"):
        load_source(tmp_path, "icons")
    save_file({"camera.project.weight": torch.zeros(2, 2)}, tmp_path / "ema.safetensors")
    with pytest.raises(UserError, match="expected the averaged weights"):
        load_source(tmp_path, "icons")


def test_a_camera_that_is_absent_is_no_camera(run: Path) -> None:
    network = load_source(run, "icons").network
    generator = torch.Generator().manual_seed(0)
    sample, context = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 17, 384, generator=generator)
    t, camera = torch.tensor([300, 700]), torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.5, 1.0]])
    with torch.no_grad():
        both, plain = Seen(network)(sample, t, context, camera), network(sample, t, context)
        seen = network(sample, t, context, camera[:, :2])
    assert float((both[0] - plain[0]).abs().max()) < 1e-5
    assert float((both[1] - seen[1]).abs().max()) < 1e-5
    assert float((both[1] - plain[1]).abs().max()) > 1e-3


@pytest.mark.slow
def test_a_bundle_is_written_beside_its_base(base: DiffusionBundle, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "objects"
    assert run_objects(Objects(run=run, out=out)) == 0
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 4.5 * 2**20
    bundle = DiffusionBundle.load(out)
    prompt = Prompt.encode("a car", bundle.text_encoder())
    angles = torch.tensor([0.3, math.pi]), torch.tensor([0.2, 0.5])
    z, t = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([400, 800])
    network = make_denoiser(base)
    fill(network, {n: p for n, p in load_source(run, "icons").network.named_parameters() if n in _trained(network)})
    with torch.no_grad():
        expected = network(z, t, prompt.context.expand(2, -1, -1)[:, :-1], torch.stack(angles, 1))
    found = bundle.denoiser()(z, t, with_cameras(prompt, *angles).conditional(2))
    assert float((found - expected).norm() / expected.norm()) < 0.04  # int8, 28 dB


@pytest.fixture(scope="module")
def dual(base: DiffusionBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder of another dual encoder."""
    network = restore_dual(base)
    torch.nn.init.normal_(network.text.head[2].weight, std=0.05, generator=torch.Generator().manual_seed(3))
    folder = tmp_path_factory.mktemp("dual")
    save_file(network.state_dict(), folder / "ema.safetensors")
    return folder


def expect_own_dual(bundle: DiffusionBundle, base: DiffusionBundle, dual: Path) -> None:
    """Assert that a bundle ranks pictures, and guides them, by the dual encoder of a run folder."""
    network = load_dual(dual)
    assert bundle.manifest.provenance.count("train.clip") == 1
    assert not any(file.bundle for file in bundle.specs["image_embedder"].files.values())
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(4))
    texts = ["a car", "a chair"]
    with torch.no_grad():
        expected = network.image(images) @ network.text(base.text_encoder()(texts)).T
    found = bundle.scorer()(images, texts)
    assert float((found - expected).abs().max()) < 0.02  # int8
    assert float((found - base.scorer()(images, texts)).abs().max()) > 0.1
    assert float((bundle.guide("a car")(images) - found[:, 0]).abs().max()) < 0.02


@pytest.mark.slow
def test_a_bundle_may_have_a_dual_encoder_of_its_own(
    base: DiffusionBundle, run: Path, dual: Path, tmp_path: Path
) -> None:
    out = tmp_path / "objects"
    assert run_objects(Objects(run=run, out=out, dual=dual)) == 0
    expect_own_dual(DiffusionBundle.load(out), base, dual)


@pytest.mark.slow
def test_a_dual_encoder_comes_into_a_copy_of_a_bundle(base: DiffusionBundle, dual: Path, tmp_path: Path) -> None:
    before, out = DiffusionBundle.load("objects", threads=1), tmp_path / "objects"
    for _ in range(2):  # the second time into a bundle that has one of its own
        assert run_objects(Objects(base=str(out if out.exists() else "objects"), out=out, dual=dual)) == 0
    after = DiffusionBundle.load(out)
    expect_own_dual(after, base, dual)
    assert after.read_file("denoiser", "model.onnx") == before.read_file("denoiser", "model.onnx")
    assert after.specs["latent_encoder"] == before.specs["latent_encoder"]


def test_a_run_of_something_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the run folder of a denoiser, or --dual with that of a dual encoder"):
        run_objects(Objects(out=tmp_path / "objects"))


def _trained(network: torch.nn.Module) -> set[str]:
    return {name for name, weight in network.named_parameters() if weight.requires_grad}
