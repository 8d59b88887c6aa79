from pathlib import Path

import pytest

from runtime.engines.backends.graphs import graph_of
from runtime.engines.backends.plans import write_plan
from runtime.engines.bundle import Bundle
from runtime.errors import UserError
from serving.__main__ import main
from serving.commands.up import Up, models_served, triton_server, triton_setup
from serving.methods import served_methods
from serving.repository import build_repository, check_repository
from serving.triton.configs import from_text, model_name, spec_of
from serving.triton.lanes import TritonLane
from tests.bundles import make_tiny_bundle


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    return Bundle.load(make_tiny_bundle(tmp_path / "tiny"))


def config_of(folder: Path, name: str):
    return from_text((folder / name / "config.pbtxt").read_text(), name)


def test_each_network_and_each_method_is_a_model(tiny: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    written = build_repository(folder, [tiny], served_methods(), jobs=2)
    names = {model.name for model in written}
    assert {"tiny_denoiser", "vectorfusion", "vectorize"} <= names
    assert not {"lmconv_sample"} & names, "no bundle for it"
    assert check_repository(folder) == []
    for role, spec in tiny.specs.items():
        config = config_of(folder, f"tiny_{role}")
        assert spec_of(config) == spec
        (version,) = config.version_policy.specific.versions
        assert (folder / f"tiny_{role}" / str(version) / "model.onnx").read_bytes() == tiny.read_file(
            role, "model.onnx"
        )


def test_one_program_of_at_most_60_lines_serves_every_method(tiny: Bundle, tmp_path: Path) -> None:
    build_repository(tmp_path / "repository", [tiny, Bundle.load("mnist")], served_methods())
    programs = {path.read_text() for path in (tmp_path / "repository").glob("*/1/model.py")}
    assert len(programs) == 1 and len(programs.pop().splitlines()) <= 60
    kinds = (None, "latent-diffusion", "lmconv")
    expected = {name for name, served in served_methods().items() if served.method.kind in kinds}
    assert set(models_served(tmp_path / "repository")) == expected


def test_versions_are_made_of_the_content(tiny: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    first = build_repository(folder, [tiny], {})
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.onnx")}
    assert build_repository(folder, [tiny], {}) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.onnx")} == before, "nothing is written again"
    other = Bundle.load(make_tiny_bundle(tmp_path / "other", seed=1))
    second = build_repository(folder, [other], {})
    changed = [a.name for a, b in zip(first, second, strict=True) if a.version != b.version]
    assert "tiny_denoiser" in changed
    versions = sorted(path.name for path in (folder / "tiny_denoiser").iterdir() if path.is_dir())
    assert len(versions) == 2, "the old one stays"
    assert [str(v) for v in config_of(folder, "tiny_denoiser").version_policy.specific.versions] == [
        str(next(model.version for model in second if model.name == "tiny_denoiser"))
    ]


def test_plans_are_served_by_compute_capability(tiny: Bundle, tmp_path: Path) -> None:
    graph = graph_of(tiny, "denoiser")
    for capability, precision, edition in [
        ("sm86", "fp16", "tensorrt"), ("sm89", "fp16", "tensorrt"), ("sm89", "model", "tensorrt_rtx"),
    ]:  # fmt: skip
        key = graph.key(edition, "10.1", capability, precision)
        write_plan(graph.plans, key, f"plan of {capability} {edition}".encode())
    folder = tmp_path / "repository"
    build_repository(folder, [tiny], {})
    config = config_of(folder, "tiny_denoiser_trt")
    assert config.platform == "tensorrt_plan" and dict(config.cc_model_filenames) == {
        "8.6": "sm86.plan", "8.9": "sm89.plan"
    }  # fmt: skip
    (version,) = config.version_policy.specific.versions
    assert (folder / "tiny_denoiser_trt" / str(version) / "sm89.plan").read_bytes() == b"plan of sm89 tensorrt"
    assert spec_of(config) == tiny.specs["denoiser"] and check_repository(folder) == []
    (plan,) = graph.plans.glob("*sm86*.plan")
    plan.write_bytes(b"edited")
    with pytest.raises(UserError, match="was edited"):
        build_repository(folder, [tiny], {})


def test_a_folder_with_other_files_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .*: expected a new folder or a repository of ours"):
        build_repository(tmp_path / "mine", [tiny], {})
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


WRONG = {
    "edited": (lambda f: next(f.glob("tiny_denoiser/*/model.onnx")).write_bytes(b"x"), "is not what its spec says"),
    "missing": (lambda f: next(f.glob("tiny_denoiser/*/model.onnx")).unlink(), "model.onnx is missing"),
    "renamed": (lambda f: (f / "tiny_denoiser").rename(f / "other"), "expected the folder's name"),
    "a field": (lambda f: _edit(f, "max_batch_size: 256", "max_batch_size: 8"), "max_batch_size: expected 256, got 8"),
    "instances": (lambda f: _edit(f, "count: 1", "count: 2", "vectorize"), "is not what is built here"),
    "no field": (lambda f: _edit(f, "max_batch_size", "greatest_batch"), "expected a model configuration"),
}


def _edit(folder: Path, old: str, new: str, model: str = "tiny_denoiser") -> None:
    path = folder / model / "config.pbtxt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(tiny: Bundle, tmp_path: Path, case: str) -> None:
    folder = tmp_path / "repository"
    build_repository(folder, [tiny], served_methods())
    spoil, message = WRONG[case]
    spoil(folder)
    assert any(message in line for line in check_repository(folder)), check_repository(folder)
    with pytest.raises(UserError, match="build it with: python -m serving build"):
        triton_server(Up(repository=folder, store=tmp_path / "store"))


def test_the_command_builds_what_up_serves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "repository"
    assert main(["build", "mnist", "--out", str(folder), "--jobs", "3"]) == 0
    assert "serve them with: python -m serving up" in capsys.readouterr().out
    options = Up(repository=folder, store=tmp_path / "store")
    server = triton_server(options)
    setup = triton_setup(options, server)
    assert len(setup.lanes) == 3 and {"lmconv_complete", "lmconv_sample", "vectorize"} <= set(setup.served)
    models = [lane.model_of[setup.served["vectorize"].home] for lane in setup.lanes if isinstance(lane, TritonLane)]
    assert models == ["vectorize", "vectorize-2", "vectorize-3"], "a lane has processes of its own"
    assert main(["build", "mnist", "--out", str(folder), "--jobs", "2"]) == 0
    assert sorted(path.name for path in folder.glob("vectorize-*")) == ["vectorize-2"]
    assert triton_setup(options, server).served.keys() == setup.served.keys()
    with pytest.raises(UserError, match="holds no model"):
        triton_server(Up(repository=tmp_path / "none", store=tmp_path / "store"))
    assert model_name("sd-1.5", "latent_encoder.vjp") == "sd_1_5_latent_encoder_vjp"
