"""The options of `runtime.vectorfusion` that say where networks run, and that a run goes on as it began."""

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.command.method import draw
from runtime.engines.backends.choice import make_engine
from runtime.engines.backends.results import write_results
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.guidance import samples
from runtime.vectorfusion import METHOD, Config, main
from runtime.vectorfusion.config import networks
from tests.bundles import make_tiny_bundle
from tests.engines.results import result

BRIEF = ("--route", "scratch", "--paths", "2", "--steps", "2")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TGM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return make_tiny_bundle(tmp_path / "tiny")


def test_a_run_says_and_keeps_what_runs_it(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a cat", "--bundle", str(bundle), *BRIEF]) == 0
    assert "ort on cpu runs all networks: not verified on this machine\n" in capsys.readouterr().err
    known = json.loads(Path("runs/a-cat/config.json").read_text())
    assert known["placement"] == {"device": "auto", "backend": "auto", "compile": False}
    assert known["ran_on"]["device"] == "cpu"
    assert set(known["ran_on"]["networks"].values()) == {"ort"}


def test_the_backend_of_a_verified_network_is_told_with_its_reason(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(DiffusionBundle.load(bundle).digest, [result("ort", 5.0), result("torch", 3.0)])
    assert main(["a cat", "--bundle", str(bundle), *BRIEF]) == 0
    told = "torch on cpu runs latent_encoder: the fastest that passed export verify here: torch 3.0 ms, ort 5.0 ms\n"
    assert told in capsys.readouterr().err


def test_backends_draw_the_same_at_first(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svgs = []
    for backend in ("ort", "torch"):
        assert main(["a cat", "--bundle", str(bundle), *BRIEF, "--backend", backend, "--out", f"{backend}.svg"]) == 0
        svgs.append(Path(f"{backend}.svg").read_bytes())
    assert "runs all networks" not in capsys.readouterr().err  # the user knows
    assert svgs[0] == svgs[1]


def test_a_run_goes_on_with_what_it_began_with(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = DiffusionBundle.load(bundle).digest
    write_results(digest, [result("ort", 5.0), result("torch", 3.0)])
    assert main(["a cat", "--bundle", str(bundle), *BRIEF]) == 0
    write_results(digest, [result("ort", 1.0), result("torch", 3.0, passed=False)])
    assert main(["--resume", "runs/a-cat"]) == 0
    known = json.loads(Path("runs/a-cat/config.json").read_text())
    assert known["ran_on"]["networks"]["latent_encoder"] == "torch"
    with pytest.raises(UserError, match="the run has backend 'auto'; leave these options out"):
        main(["--resume", "runs/a-cat", "--backend", "ort"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"placement": {"device": "cpu"}}, "expected the options of this version, got other ones"),
        ({"ran_on": {"device": "cpu"}}, "the field 'networks' is missing"),
        (
            {"ran_on": {"device": "cpu", "networks": {"denoiser": 1}}},
            "backend: expected one of ort, tensorrt, torch, got 1",
        ),
        ({"ran_on": {"device": "cpu", "networks": {"latent_encoder": "x"}}}, "backend: expected one of ort"),
    ],
)
def test_an_edited_run_is_refused(bundle: Path, change: dict, words: str) -> None:
    assert main(["a cat", "--bundle", str(bundle), *BRIEF, "--backend", "ort"]) == 0
    path = Path("runs/a-cat/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=words):
        main(["--resume", "runs/a-cat"])


def test_a_bundle_that_failed_verification_is_not_used(bundle: Path) -> None:
    write_results(
        DiffusionBundle.load(bundle).digest, [result("ort", 1.0, passed=False), result("torch", 1.0, passed=False)]
    )
    with pytest.raises(UserError, match="bundle 'tiny' is not used here: latent_encoder"):
        main(["a cat", "--bundle", str(bundle), *BRIEF])
    assert not Path("runs").exists()
    assert main(["a cat", "--bundle", str(bundle), *BRIEF, "--backend", "ort"]) == 0


@pytest.mark.parametrize("name", ["tiny", "icons"])
@pytest.mark.parametrize(
    "options",
    [{}, {"samples": 1}, {"gradients": "torch"}, {"route": "scratch"}, {"route": "scratch", "target_every": 1}],
)
def test_the_networks_that_are_named_are_those_that_a_run_asks_for(
    options: dict[str, Any], name: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SAMPLER_STEPS", 2)
    made: set[str] = set()

    def make(graph, choice, **how):
        made.add(graph.name)
        return make_engine(graph, choice, **how)

    config = Config(**{"prompt": "a cat", "steps": 1, "paths": 2, **options})
    bundle = DiffusionBundle.load(tiny_folder if name == "tiny" else name, threads=1, make=make)
    draw(METHOD, config, bundle)
    assert made == {name for name in networks(config, bundle) if name in bundle.choices()}
