"""SVG files: read as drawings, written as plain paths.

The reader, most of this package, is imported when it is first used: a drawing that is only written does without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from runtime.vector.svg.write import DECIMALS, METADATA_NAMESPACE, SVG_NAMESPACE, format_svg, write_svg

if TYPE_CHECKING:
    from runtime.vector.svg.read import parse_svg, read_svg

__all__ = ["DECIMALS", "METADATA_NAMESPACE", "SVG_NAMESPACE", "format_svg", "parse_svg", "read_svg", "write_svg"]


def __getattr__(name: str) -> Any:
    """Import the reader on its first use (PEP 562)."""
    if name not in ("parse_svg", "read_svg"):
        raise AttributeError(f"module 'runtime.vector.svg' has no attribute {name!r}")
    return getattr(importlib.import_module("runtime.vector.svg.read"), name)
