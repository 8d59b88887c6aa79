"""One hook checks shapes, one says why a marked test is skipped; one fixture seeds what draws without a generator."""

import sys

import jaxtyping
import pytest

import tests.typecheck  # noqa: F401  (what the hook names)

CHECKED = (
    "benchmarks.evaluator",
    "runtime.engines.autograd",
    "runtime.engines.twins.convnext",
    "runtime.engines.twins.kl_encoder",
    "runtime.engines.roles",
    "runtime.engines.protocols",
    "runtime.guidance",
    "runtime.lmconv.sheets",
    "runtime.pictures",
    "runtime.pixels",
    "runtime.vector.trace.live",
    "runtime.vector.trace.outlines",
    "runtime.vector.trace.regions",
    "runtime.vector.trace.smoothing",
    "runtime.vector.paths",
    "runtime.vector.raster.diffvg",
    "runtime.vector.raster.reference",
    "runtime.vector.scene",
    "runtime.vectorfusion.stages",
    "train",
)
"""Modules whose annotations, shapes among them, beartype holds every call to, here and nowhere else.

Not `engines.twins.vit` and `tokens`, which refuse wrong values themselves and are tested with such, nor what numba
compiles.
"""

assert not [name for name in sys.modules if name.startswith(CHECKED)], "imported before the hook: unchecked"
jaxtyping.install_import_hook(CHECKED, "tests.typecheck.typecheck")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")


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
