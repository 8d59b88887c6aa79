"""Bundles of small twins end to end: export, ONNX Runtime against PyTorch in float32, and a drawing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from export.clip.into import add_encoders
from export.clip.sources import load_encoder
from export.sd import DEFAULTS, write_sd
from export.sd.load import load_source
from export.verify.gates import GATES, compare
from export.verify.inputs import precision_of
from export.verify.references import reference_networks
from export.write import streamed
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.precision import Storage
from runtime.errors import UserError
from runtime.vectorfusion import main as draw
from tests.export.conftest import make_bundle
from tests.tolerance import ENGINE_FLOAT32


@pytest.fixture
def folder(sd_folder: Path) -> Path:
    return sd_folder


def check_outputs(folder: Path) -> None:
    """Compare every network with the float32 one that it was made of, at the least, typical and greatest batch."""
    bundle = DiffusionBundle.load(folder, threads=1)
    exports = reference_networks(folder)
    assert set(exports) <= set(bundle.specs)
    for role, exported in exports.items():
        assert {p.dtype for p in exported.module.parameters()} == {torch.float32}
        assert exported.spec == bundle.specs[role].__class__(**{**bundle.specs[role].__dict__, "files": {}})
        for batch in exported.spec.ranges["B"]:
            samples = tuple(torch.cat([s] * 4)[:batch] for s in exported.samples)
            with torch.no_grad():
                wanted = exported.module(*samples)
            for reference, output in zip(
                wanted if isinstance(wanted, tuple) else (wanted,), bundle.engine(role)(*samples), strict=True
            ):
                row = compare(f"{role} of {batch}", reference, output, GATES[precision_of(bundle, role)])
                assert row.passed, row


def test_every_network_computes_what_it_was_made_of(folder: Path) -> None:
    assert set(reference_networks(folder)) == set(DiffusionBundle.load(folder).specs)
    check_outputs(folder)


def test_the_twins_and_the_graphs_read_one_file_of_weights(folder: Path) -> None:
    bundle = DiffusionBundle.load(folder, threads=1)
    for role, spec in bundle.specs.items():
        weights = spec.files["weights.safetensors"].size
        stored = load_file(bundle.folder_of(role) / "weights.safetensors")
        assert sum(value.numel() * value.element_size() for value in stored.values()) <= weights
        graphs = [file.size for name, file in spec.files.items() if name.endswith(".onnx")]
        assert graphs and max(graphs) < 200_000  # no large weight is in a graph too
    for role in ("latent_encoder", "image_embedder"):
        images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        value, twin = bundle.engine(role)(images)[0], bundle.eager_engine(role)(images)[0]
        tolerance = ENGINE_FLOAT32 if role == "latent_encoder" else 5e-3  # the twin computes in float32
        torch.testing.assert_close(twin, value, atol=tolerance, rtol=0)


def test_the_denoisers_twin_has_its_weights(folder: Path) -> None:
    bundle = DiffusionBundle.load(folder, threads=1)
    exported = reference_networks(folder)["denoiser"]
    found = bundle.eager_engine("denoiser")(*exported.samples)[0]
    with torch.no_grad():
        wanted = exported.module(*exported.samples)
    assert float((found - wanted).square().mean() / wanted.square().mean()) < 1e-5  # stored in float16


def test_the_loop_draws_with_it_from_scratch_and_from_samples(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["a red boat", "--bundle", str(folder), "--steps", "2", "--paths", "2"]
    assert draw([*common, "--route", "scratch", "--out", "a.svg"]) == 0
    assert draw([*common, "--samples", "3", "--preset", "pixel", "--paths", "4", "--out", "b.svg"]) == 0
    config = json.loads(next(tmp_path.glob("runs/a/config.json")).read_text())["config"]
    assert (config["omega"], config["sample_omega"], config["upper_t"]) == (100.0, 6.5, [950, 950])
    assert config["target_every"] == 0


def test_a_prompt_that_is_too_long_is_told_before_anything_is_drawn(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected at most 75 tokens, got 76"):
        draw(["a" * 76, "--bundle", str(folder)])


def test_without_an_image_text_encoder_the_remedy_is_told(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    document = json.loads((bare / "bundle.json").read_text())
    for role in ("image_embedder", "text_embedder"):
        shutil.rmtree(bare / document["networks"].pop(role))
    document["files"] = {n: f for n, f in document["files"].items() if "embedder" not in n}
    (bare / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(
        UserError, match=r"add one with: python -m export clip --into .*, or ask for one sample: --samp"
    ):
        draw(["a cat", "--bundle", str(bare)])


def test_an_export_that_is_repeated_writes_nothing_anew(folder: Path, tmp_path: Path, monkeypatch) -> None:
    again = Path(shutil.copytree(folder, tmp_path / "sd"))
    monkeypatch.setattr(streamed, "write_network", lambda *a: pytest.fail("a network was exported again"))
    lines: list[str] = []
    write_sd(load_source("random:tiny-sd15"), again, lines.append)
    assert [line for line in lines if "written before, kept" in line] == lines[:4]
    assert not list(tmp_path.glob(".*"))
    DiffusionBundle.load(again)
    with pytest.raises(pytest.fail.Exception):
        write_sd(load_source("random:tiny-sd15", seed=1), again, lines.append)


def test_an_interrupted_export_resumes(folder: Path, tmp_path: Path, monkeypatch) -> None:
    done: list[str] = []

    def stop(network, where):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(where.name)
        shutil.copytree(folder / where.name, where, dirs_exist_ok=True)
        return DiffusionBundle.load(folder).specs[where.name]

    monkeypatch.setattr(streamed, "write_network", stop)
    out = tmp_path / "sd"
    with pytest.raises(KeyboardInterrupt):
        write_sd(load_source("random:tiny-sd15"), out, lambda line: None)
    assert not out.exists()
    (tmp_path / ".sd.partial" / done[1] / "weights.safetensors").write_bytes(b"cut")
    first, damaged = done
    done.clear()

    def copy(network, where):
        done.append(where.name)
        shutil.copytree(folder / where.name, where, dirs_exist_ok=True)
        return DiffusionBundle.load(folder).specs[where.name]

    monkeypatch.setattr(streamed, "write_network", copy)
    write_sd(load_source("random:tiny-sd15"), out, lambda line: None)
    assert first not in done and damaged in done and len(done) == 3
    DiffusionBundle.load(out)


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    words = r"expected a bundle, an empty folder or none, got other files \('thesis.txt'\); choose another folder"
    with pytest.raises(UserError, match=words):
        write_sd(load_source("random:tiny-sd15"), tmp_path, lambda line: None)


def test_the_manifest_says_where_it_comes_from(folder: Path) -> None:
    manifest = DiffusionBundle.load(folder).manifest
    assert manifest.source["sd"]["weights"] == "random:tiny-sd15"
    assert manifest.source["clip"]["model"] == "tiny-clip"
    assert manifest.defaults == {"vectorfusion": DEFAULTS}
    assert "Random weights" in manifest.provenance


@pytest.mark.slow
@pytest.mark.parametrize("family", ["tiny-sd21", "tiny-sd-turbo", "tiny-sdxl", "tiny-sdxl-turbo"])
def test_the_other_families_end_to_end(family: str, tmp_path: Path, monkeypatch) -> None:
    folder = make_bundle(tmp_path / "sd", family, clip="tiny-clip-convnext" if family == "tiny-sdxl" else "")
    check_outputs(folder)
    monkeypatch.chdir(tmp_path)
    assert draw(["a boat", "--bundle", str(folder), "--steps", "2", "--paths", "2", "--samples", "1"]) == 0


@pytest.mark.slow
def test_timms_encoder_takes_the_place_of_both_clips(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "sd"))
    add_encoders(load_encoder("timm", "tiny-vit", "random:0"), copy, lambda line: None, precision=Storage.FLOAT32)
    bundle = DiffusionBundle.load(copy)
    assert "image_embedder" in bundle.specs and "text_embedder" not in bundle.specs
    assert len(list(copy.glob("*embedder*"))) == 1
    check_outputs(copy)
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    bundle.image_encoder()(images).sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", [Storage.FLOAT32])
def test_float32_is_exact(precision: Storage, tmp_path: Path) -> None:
    check_outputs(make_bundle(tmp_path / "sd", "tiny-sd15", precision=precision))
