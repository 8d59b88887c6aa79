"""A hook checks shapes, another says why a marked test is skipped; fixtures seed PyTorch and share a tiny bundle."""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import jaxtyping
import pytest

import tests.typecheck  # noqa: F401  (what the hook names)

# One thread a process, before PyTorch is loaded, here and in every command that a test starts: pytest runs a process a
# core, and threads that outnumber the cores wait for one another. A test about threads sets its own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHECKED = ("runtime", "train", "export", "serving", "benchmarks")
"""Packages whose annotations, shapes among them, beartype holds every call to, here and nowhere else."""

UNCHECKED: dict[str, str] = {
    "runtime.vector.raster.kernels.": "numba compiles it",
    "runtime.vector.raster.cuda.coverage": "numba compiles it",
    "runtime.vector.raster.cuda.pixels": "numba compiles it",
    "runtime.vector.raster.cuda.launch": "numba compiles it",
    "runtime.kernels.jit": "numba compiles it",
    "runtime.engines.twins.fused.kernels": "Triton compiles it",
    "runtime.field.kernels.": "numba compiles it",
    "benchmarks.text_to_3d.kernels": "numba compiles it",
    "runtime.loop.progress": "writes to streams of tests, which typing's TextIO does not know",
    "runtime.vector.svg.": "parses text, which has no shapes; the checks' frames would add to its recursion",
    "runtime.vector.trace.boundaries": "numba compiles it",
    "runtime.vector.trace.flat.kernels.": "numba compiles it",
    "runtime.command.options": "takes unions and generic aliases where its annotation, for pyright, names a class",
    "export.verify.": "fakes stand for engines and references in its tests",
    "runtime.engines.backends.": "fakes stand for drivers, plans and networks in its tests",
    "runtime.engines.tokens": "refuses wrong values itself, and is tested with such",
    "runtime.engines.twins.vit": "refuses wrong values itself, and is tested with such",
}
"""Modules left out, each with the reason; one with a dot at its end stands for all that is below."""


def is_checked(name: str) -> bool:
    """Return whether beartype holds the calls to a module's functions."""
    left_out = any(name == left or (left.endswith(".") and name.startswith(left)) for left in UNCHECKED)
    return name.split(".", maxsplit=1)[0] in CHECKED and not left_out


class Plain(MetaPathFinder):
    """Finds the modules that are left out as Python does, before the hook's finder sees them."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """Return the plain spec of a module that is left out, None for others."""
        ours = fullname.split(".", maxsplit=1)[0] in CHECKED
        return PathFinder.find_spec(fullname, path) if ours and not is_checked(fullname) else None


assert not [name for name in sys.modules if name.split(".")[0] in CHECKED], "imported before the hook: unchecked"
jaxtyping.install_import_hook(CHECKED, "tests.typecheck.typecheck")
sys.meta_path.insert(0, Plain())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")
    parser.addoption("--inputs", type=int, default=100_000, help="inputs of each kind in the slow fuzz tests")


def _reason_to_skip(marker: str, config: pytest.Config) -> str | None:
    if marker == "slow":
        return None if config.getoption("--slow") else "slow: run with --slow"
    if marker == "gpu":
        import torch

        return None if torch.cuda.is_available() else "needs a CUDA device, found none"
    from importlib.util import find_spec

    found = any(find_spec(name) for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"))
    return None if found else "needs tensorrt or tensorrt_rtx, found neither"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker in ("slow", "gpu", "tensorrt"):
            if item.get_closest_marker(marker) and (reason := _reason_to_skip(marker, config)):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Make every test draw the same numbers on every run."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def inputs(pytestconfig: pytest.Config) -> int:
    """Return how many inputs of each kind the slow fuzz tests try."""
    return pytestconfig.getoption("--inputs")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny random bundle, which no test changes."""
    from tests.bundles import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def small_films(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let films of fields have 8 frames of 32 pixels, 8 jobs of rays each, and meshes small textures.

    For tests of what is written, and whether it is the same again, and not of how it looks.
    """
    from dataclasses import replace

    from runtime.field import results

    cameras = results.Orbit.cameras

    def fewer(orbit: results.Orbit) -> object:
        # The eight views that are judged stay as large as the networks take them.
        return cameras(replace(orbit, frames=8, side=32) if orbit.frames > 8 else orbit)

    monkeypatch.setattr(results.Orbit, "cameras", fewer)
    monkeypatch.setattr(results, "TEXTURE_SIDE", 64)


@pytest.fixture
def whole_factors() -> Iterator[None]:
    """Let convolutions on a card keep all 24 bits of float32: PyTorch's default is 11, an error of 1e-3."""
    import torch

    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = before
