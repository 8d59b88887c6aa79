"""Test-time optimization with frozen networks: text to SVG and to 3D, photos to 3D, completion and codes of pictures.

The names below are imported when they are first used: `import runtime` itself loads neither PyTorch nor ONNX Runtime.
"""

import importlib
from typing import TYPE_CHECKING, Any

from runtime.version import __version__

if TYPE_CHECKING:
    from runtime.command.method import Method, draw
    from runtime.engines.bundle import Bundle
    from runtime.errors import UserError
    from runtime.lmconv.functions import complete, sample
    from runtime.vector.raster import rasterize
    from runtime.vector.svg import read_svg, write_svg
    from runtime.vectorize.function import vectorize

__all__ = [
    "Bundle",
    "Method",
    "UserError",
    "__version__",
    "complete",
    "draw",
    "rasterize",
    "read_svg",
    "sample",
    "vectorize",
    "write_svg",
]

_HOMES = {
    "Bundle": "runtime.engines.bundle",
    "Method": "runtime.command.method",
    "UserError": "runtime.errors",
    "complete": "runtime.lmconv.functions",
    "draw": "runtime.command.method",
    "rasterize": "runtime.vector.raster",
    "read_svg": "runtime.vector.svg",
    "sample": "runtime.lmconv.functions",
    "vectorize": "runtime.vectorize",
    "write_svg": "runtime.vector.svg",
}


def __getattr__(name: str) -> Any:
    """Import one of the names of `__all__` on its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return home if name == "vectorize" else getattr(home, name)


def __dir__() -> list[str]:
    """Return what the module offers."""
    return sorted({*globals(), *__all__})
