"""What ships in the package has to load, fit its size and agree with itself."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from runtime.engines.bundle import (
    INSTALLED,
    Bundle,
    DiffusionBundle,
    InstalledBundle,
    LMConvBundle,
    PixelNeRFBundle,
    installed_bundles,
)
from runtime.engines.bundle.installed import MANIFESTS
from runtime.errors import UserError
from runtime.pixels.orders import curve_order
from runtime.pixels.sampler import Sampler
from tests.tolerance import ENGINE_FLOAT32

BUNDLES = installed_bundles()
LIMITS = {"latent-diffusion": 32 * 2**20, "lmconv": 6 * 2**20, "ddpm": 3 * 2**20, "pixelnerf": 4 * 2**20}
NEEDED = {kind: set(manifest.roles) - {"text_encoder_2"} for kind, manifest in MANIFESTS.items()}


def of_kind(*kinds: str) -> list[InstalledBundle]:
    return [bundle for bundle in BUNDLES if bundle.kind in kinds]


@pytest.fixture(params=BUNDLES, ids=lambda bundle: bundle.name, scope="module")
def any_installed(request: pytest.FixtureRequest) -> InstalledBundle:
    return request.param


@pytest.fixture(params=of_kind("latent-diffusion"), ids=lambda bundle: bundle.name, scope="module")
def installed(request: pytest.FixtureRequest) -> InstalledBundle:
    return request.param


@pytest.fixture(params=of_kind("lmconv"), ids=lambda bundle: bundle.name, scope="module")
def installed_pixels(request: pytest.FixtureRequest) -> InstalledBundle:
    return request.param


def test_it_is_whole_and_small_enough(any_installed: InstalledBundle) -> None:
    installed = any_installed
    assert installed.problem == ""
    assert installed.size <= LIMITS[installed.kind]
    bundle = Bundle.kinds[installed.kind].load(installed.name)
    assert bundle.folder == INSTALLED / installed.name
    assert set(bundle.specs) >= NEEDED[installed.kind]
    listed = {"bundle.json", *bundle.manifest.files}
    own = {role: [name for name, file in spec.files.items() if not file.bundle] for role, spec in bundle.specs.items()}
    listed |= {f"{bundle.manifest.networks[role]}/{name}" for role, names in own.items() for name in names}
    found = {path.relative_to(installed.folder).as_posix() for path in installed.folder.rglob("*") if path.is_file()}
    assert found == listed


def test_all_together_are_small_enough() -> None:
    assert {bundle.name for bundle in BUNDLES} >= {"icons", "mnist", "icons-ddpm", "objects", "pixelnerf"}
    weights = [path for b in BUNDLES for kind in ("onnx", "safetensors") for path in b.folder.rglob(f"*.{kind}")]
    # Of the bundles of all methods: those of one kind have limits of their own.
    assert sum(path.stat().st_size for path in weights) <= 51 * 2**20


def test_it_bears_no_trace_of_the_machine_that_made_it(any_installed: InstalledBundle) -> None:
    installed = any_installed
    here = (str(Path(__file__).parents[3]), str(Path.home()), tempfile.gettempdir() + "/", sys.prefix)
    traces = [text.encode() for text in (*here, 'File "', "site-packages") if len(text) > 4]
    for path in installed.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [trace for trace in traces if trace in content] == [], path


def test_every_network_runs_and_the_twin_is_the_engine(installed: InstalledBundle) -> None:
    bundle = DiffusionBundle.load(installed.name)
    context = bundle.text_encoder()(["a red apple" + bundle.prompt_suffix, ""])
    z = torch.randn(2, *bundle.latent_shape, generator=torch.Generator().manual_seed(0))
    noise = bundle.denoiser()(z, torch.tensor([20, 980]), context)
    assert noise.shape == z.shape
    images = bundle.latent_decoder()(z)
    scores = bundle.scorer()(images, ["a red apple"])
    assert scores.abs().max() <= 1.0 + 1e-5
    ours, engine = (bundle.latent_encoder(gradients=g)(images) for g in ("torch", "none"))
    torch.testing.assert_close(ours, engine, atol=ENGINE_FLOAT32 * 10, rtol=ENGINE_FLOAT32)
    embeddings, engine = (bundle.image_encoder(gradients=g)(images) for g in ("torch", "none"))
    torch.testing.assert_close(embeddings, engine, atol=ENGINE_FLOAT32, rtol=0)
    for tensor in (noise, scores, ours, embeddings):
        assert torch.isfinite(tensor).all()


def test_its_noise_prediction_is_nearly_the_noise_where_all_is_noise(installed: InstalledBundle) -> None:
    bundle = DiffusionBundle.load(installed.name)
    z = torch.randn(4, *bundle.latent_shape, generator=torch.Generator().manual_seed(0))
    t = torch.full((4,), bundle.schedule["num_timesteps"] - 1)
    predicted = bundle.denoiser()(z, t, bundle.text_encoder()([""] * 4))
    assert torch.nn.functional.cosine_similarity(predicted.flatten(1), z.flatten(1)).min() > 0.9


def test_its_walk_and_its_prefill_agree(installed_pixels: InstalledBundle) -> None:
    bundle = LMConvBundle.load(installed_pixels.name)
    sampler, size = Sampler.of(bundle), (12, 12)
    draws, order = torch.Generator().manual_seed(0), curve_order("s-curve", size)
    levels = sampler.sample(order, size, generator=draws, count=2)
    walked, whole = (sampler.parameters(levels, order, observed) for observed in (0, 144))
    torch.testing.assert_close(walked, whole, atol=ENGINE_FLOAT32 * 10, rtol=ENGINE_FLOAT32)


def test_the_field_of_a_pictures_ball_is_solid_in_front_and_of_its_colour() -> None:
    bundle = PixelNeRFBundle.load("pixelnerf")
    side = bundle.manifest.side
    axis = (torch.arange(side) + 0.5) / side - 0.5
    alpha = (axis[:, None].square() + axis.square() < 0.15).float()
    picture = torch.cat([alpha * torch.tensor([0.8, 0.3, 0.2])[:, None, None], alpha[None]])[None]
    (features,) = bundle.engine("picture_encoder")(picture)
    # Along the axis of the camera, which looks down -z: every ray of the disc has to be stopped somewhere.
    points = torch.zeros(64, 1, 3)
    points[:, 0, 2] = torch.linspace(-0.7, 0.7, 64)
    middle = features[:, side // 2, side // 2].expand(64, 1, -1).contiguous()
    (values,) = bundle.engine("field")(middle, points)
    density = values[:, 0] * 1.4 / 63
    assert float(1 - torch.exp(-density.sum())) > 0.95
    colour = (values[:, 1:] * density[:, None]).sum(0) / density.sum()
    torch.testing.assert_close(colour, torch.tensor([0.8, 0.3, 0.2]), atol=0.15, rtol=0)


def test_what_a_bundle_says_is_read_without_pytorch_and_without_its_networks(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_bytes((INSTALLED / "icons" / "bundle.json").read_bytes())
    code = (
        "import sys; from runtime.engines.bundle import installed_bundles, manifest_of; installed_bundles();"
        "print([manifest_of(name).kind for name in sys.argv[1:]], 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, "icons", "mnist", str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['latent-diffusion', 'lmconv', 'latent-diffusion'] False"


@pytest.mark.parametrize(("name", "kind"), [("icons", DiffusionBundle), ("mnist", LMConvBundle)])
def test_a_bundle_of_any_kind_loads_as_the_class_of_its_kind(name: str, kind: type[Bundle]) -> None:
    assert type(Bundle.load(name)) is kind
    other = {DiffusionBundle: LMConvBundle, LMConvBundle: DiffusionBundle}[kind]  # pyright: ignore
    with pytest.raises(UserError, match=f"bundle '{name}': expected a bundle for .*, got one for .*--bundle"):
        other.load(name)
