"""Bundles on disk: folders of frozen networks, in which every file is checked against its hash.

The names below are imported on their first use, so that a command can list bundles and read their defaults before it
waits for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.engines.bundle.ddpm import DdpmBundle
    from runtime.engines.bundle.diffusion import GRADIENTS, DiffusionBundle
    from runtime.engines.bundle.installed import (
        INSTALLED,
        InstalledBundle,
        installed_bundles,
        manifest_of,
        read_manifest,
    )
    from runtime.engines.bundle.kinds import Bundle
    from runtime.engines.bundle.lmconv import LMConvBundle
    from runtime.engines.bundle.pixelnerf import PixelNeRFBundle

__all__ = [
    "GRADIENTS",
    "INSTALLED",
    "Bundle",
    "DdpmBundle",
    "DiffusionBundle",
    "InstalledBundle",
    "LMConvBundle",
    "PixelNeRFBundle",
    "installed_bundles",
    "manifest_of",
    "read_manifest",
]

_HOMES = {
    "GRADIENTS": "diffusion",
    "Bundle": "kinds",
    "DdpmBundle": "ddpm",
    "DiffusionBundle": "diffusion",
    "LMConvBundle": "lmconv",
    "PixelNeRFBundle": "pixelnerf",
}
"""The module of each name that is not in `installed`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'installed')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
