"""What ships in the package has to load, fit its size and agree with itself."""

import sys
import tempfile
from pathlib import Path

import pytest
import torch

from runtime.engines.bundle import INSTALLED, Bundle, InstalledBundle, PixelBundle, installed_bundles, manifest
from runtime.engines.bundle import lmconv_manifest as pixel_manifest
from runtime.pixels.orders import curve_order
from runtime.pixels.sampler import Sampler
from tests.tolerance import ENGINE_FLOAT32

BUNDLES = installed_bundles()
LIMITS = {"latent-diffusion": 32 * 2**20, "lmconv": 6 * 2**20}
NEEDED = {"latent-diffusion": set(manifest.ROLES) - {"text_encoder_2"}, "lmconv": set(pixel_manifest.ROLES)}


def of_method(*methods: str) -> list[InstalledBundle]:
    return [bundle for bundle in BUNDLES if bundle.method in methods]


@pytest.fixture(params=BUNDLES, ids=lambda bundle: bundle.name, scope="module")
def any_installed(request: pytest.FixtureRequest) -> InstalledBundle:
    return request.param


@pytest.fixture(params=of_method("latent-diffusion"), ids=lambda bundle: bundle.name, scope="module")
def installed(request: pytest.FixtureRequest) -> InstalledBundle:
    return request.param


@pytest.fixture(params=of_method("lmconv"), ids=lambda bundle: bundle.name, scope="module")
def installed_pixels(request: pytest.FixtureRequest) -> InstalledBundle:
    return request.param


def test_it_is_whole_and_small_enough(any_installed: InstalledBundle) -> None:
    installed = any_installed
    assert installed.problem == ""
    assert installed.size <= LIMITS[installed.method]
    kind = {"latent-diffusion": Bundle, "lmconv": PixelBundle}[installed.method]
    bundle = kind.load(installed.name)
    assert bundle.folder == INSTALLED / installed.name
    assert set(bundle.specs) >= NEEDED[installed.method]
    listed = {"bundle.json", *bundle.manifest.files}
    listed |= {f"{bundle.manifest.networks[role]}/{name}" for role, spec in bundle.specs.items() for name in spec.files}
    found = {path.relative_to(installed.folder).as_posix() for path in installed.folder.rglob("*") if path.is_file()}
    assert found == listed


def test_all_together_are_small_enough() -> None:
    assert {bundle.name for bundle in BUNDLES} >= {"icons", "mnist"}
    weights = [path for b in BUNDLES for kind in ("onnx", "safetensors") for path in b.folder.rglob(f"*.{kind}")]
    assert sum(path.stat().st_size for path in weights) <= 32 * 2**20


def test_it_bears_no_trace_of_the_machine_that_made_it(any_installed: InstalledBundle) -> None:
    installed = any_installed
    here = (str(Path(__file__).parents[3]), str(Path.home()), tempfile.gettempdir() + "/", sys.prefix)
    traces = [text.encode() for text in (*here, 'File "', "site-packages") if len(text) > 4]
    for path in installed.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [trace for trace in traces if trace in content] == [], path


def test_every_network_runs_and_the_twin_is_the_engine(installed: InstalledBundle) -> None:
    bundle = Bundle.load(installed.name)
    context = bundle.text_encoder()(["a red apple" + bundle.prompt_suffix, ""])
    z = torch.randn(2, *bundle.latent_shape, generator=torch.Generator().manual_seed(0))
    noise = bundle.denoiser()(z, torch.tensor([20, 980]), context)
    assert noise.shape == z.shape
    images = bundle.latent_decoder()(z)
    scores = bundle.scorer()(images, ["a red apple"])
    assert scores.abs().max() <= 1.0 + 1e-5
    ours, engine = (bundle.latent_encoder(gradients=g)(images) for g in ("torch", "none"))
    torch.testing.assert_close(ours, engine, atol=ENGINE_FLOAT32 * 10, rtol=ENGINE_FLOAT32)
    for tensor in (noise, scores, ours):
        assert torch.isfinite(tensor).all()


def test_its_noise_prediction_is_nearly_the_noise_where_all_is_noise(installed: InstalledBundle) -> None:
    bundle = Bundle.load(installed.name)
    z = torch.randn(4, *bundle.latent_shape, generator=torch.Generator().manual_seed(0))
    t = torch.full((4,), bundle.schedule["num_timesteps"] - 1)
    predicted = bundle.denoiser()(z, t, bundle.text_encoder()([""] * 4))
    assert torch.nn.functional.cosine_similarity(predicted.flatten(1), z.flatten(1)).min() > 0.9


def test_its_walk_and_its_prefill_agree(installed_pixels: InstalledBundle) -> None:
    bundle = PixelBundle.load(installed_pixels.name)
    sampler, size = Sampler.of(bundle), (12, 12)
    draws, order = torch.Generator().manual_seed(0), curve_order("s-curve", size)
    levels = sampler.sample(order, size, generator=draws, count=2)
    walked, whole = (sampler.parameters(levels, order, observed) for observed in (0, 144))
    torch.testing.assert_close(walked, whole, atol=ENGINE_FLOAT32 * 10, rtol=ENGINE_FLOAT32)
