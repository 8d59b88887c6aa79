"""Trace a raster picture as an SVG of closed paths, layer by layer (LIVE; thesis 6.4.1).

    python -m runtime.vectorize picture.png --paths 64 --out picture.svg

Deterministic: the same picture and options give the same file.
"""

import sys
from types import ModuleType
from typing import Any

from runtime.command.run import main_of
from runtime.vectorize.config import Config
from runtime.vectorize.method import METHOD

__all__ = ["METHOD", "Config", "main"]

main = main_of(METHOD)


class _Callable(ModuleType):
    """This package, which can be called: `runtime.vectorize(picture)` returns a drawing.

    A package and a function of one name cannot both be an attribute of `runtime`: importing the package would replace
    the function.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from runtime.vectorize.function import vectorize

        return vectorize(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
