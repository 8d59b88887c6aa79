"""Bundles on disk: folders of frozen networks whose every file is checked against its hash."""

from runtime.engines.bundle.folder import (
    GRADIENTS,
    INSTALLED,
    Bundle,
    BundleFolder,
    InstalledBundle,
    PixelBundle,
    installed_bundles,
    read_manifest,
)

__all__ = [
    "GRADIENTS",
    "INSTALLED",
    "Bundle",
    "BundleFolder",
    "InstalledBundle",
    "PixelBundle",
    "installed_bundles",
    "read_manifest",
]
