"""A backend is a driver and a line of the table: everything else follows."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from runtime.command import placement
from runtime.engines.backends import results
from runtime.engines.backends.base import SpecEngine
from runtime.engines.backends.choice import backend_names
from runtime.engines.backends.graphs import Graph
from runtime.engines.backends.table import BACKENDS, Backend, Choice
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from tests.engines.backends.test_choice import result

DRIVER = "toy_backend"


class ToyEngine(SpecEngine):
    """Every output is zero."""

    def _run(self, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
        outputs = self.empty_outputs(sizes, inputs[0].device)
        for output in outputs:
            output.zero_()
        return outputs

    def _bind(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Any:
        return lambda: [output.zero_() for output in outputs]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Add a backend that runs denoisers on a CPU."""
    driver = ModuleType(DRIVER)

    def ready(graph: Graph, device: str) -> list[Choice]:
        return [Choice("toy", "cpu")] if graph.role == "denoiser" and device == "cpu" else []

    def missing(graph: Graph, device: str) -> str:
        return "toys are denoisers"

    def make(graph: Graph, choice: Choice, *, threads: int | None, compile: bool) -> ToyEngine:
        return ToyEngine(graph.spec, torch.device(choice.device))

    vars(driver).update(has_cuda=lambda: False, ready=ready, missing=missing, make=make)
    monkeypatch.setitem(sys.modules, DRIVER, driver)
    monkeypatch.setitem(BACKENDS, "toy", Backend("toy", "Toy", DRIVER))  # pyright: ignore
    monkeypatch.setenv("TGM_CACHE", str(tmp_path))


def test_a_new_backend_can_be_asked_for(toy: None, tiny_folder: Path) -> None:
    bundle = DiffusionBundle.load(tiny_folder, backend="toy")
    assert backend_names()[-1] == "toy"
    assert {name for name, choice in bundle.choices().items() if choice.backend == "toy"} == {"denoiser"}
    assert bundle.choices()["latent_decoder"] == Choice("ort", "cpu", reason="toys are denoisers")
    z, context = torch.randn(2, 4, 16, 16), bundle.text_encoder()(["a cat", ""])
    assert torch.equal(bundle.denoiser()(z, torch.tensor([1, 2]), context), torch.zeros_like(z))
    with pytest.raises(ValueError, match="engine 'denoiser' input 'sample': expected"):
        bundle.denoiser()(z[:, :3], torch.tensor([1, 2]), context)
    with pytest.raises(ValueError, match="runs forward only"):
        bundle.denoiser()(z.requires_grad_(), torch.tensor([1, 2]), context)


def test_a_new_backend_is_taken_by_itself_where_it_was_verified_and_is_fastest(toy: None, tiny_folder: Path) -> None:
    bundle = DiffusionBundle.load(tiny_folder, backend="auto")
    told = [replace(result(name, took), role="denoiser") for name, took in (("toy", 1.0), ("ort", 2.0))]
    results.write_results(bundle.digest, told)
    assert bundle.choices()["denoiser"].reason == "the fastest that passed export verify here: toy 1.0 ms, ort 2.0 ms"
    again = DiffusionBundle.load(tiny_folder, backend={name: str(c) for name, c in bundle.choices().items()})
    assert isinstance(again.engine("denoiser"), ToyEngine)


def test_a_new_backend_is_verified(toy: None, tiny_folder: Path) -> None:
    from export.verify.providers import providers

    bundle = DiffusionBundle.load(tiny_folder)
    names = [provider.name for provider in providers(bundle, "denoiser", [*BACKENDS], "cpu", print)]
    assert names == ["ONNX Runtime CPU", "Toy CPU"]


def test_without_its_line_it_is_unknown() -> None:
    with pytest.raises(UserError, match="backend: expected one of ort, tensorrt, torch, got 'toy'"):
        Choice.from_text("toy", "cpu")


def test_the_command_offers_the_backends_of_the_table() -> None:
    assert get_args(placement.Backend) == backend_names()


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=lambda backend: backend.name)
def test_every_driver_has_all_of_its_functions(backend: Backend) -> None:
    for name in ("has_cuda", "ready", "missing", "make"):
        assert callable(getattr(backend.driver, name))
