"""The bundle of an LMConv network."""

from runtime.engines.bundle.folder import Bundle
from runtime.engines.bundle.lmconv_manifest import LMConvManifest


class LMConvBundle(Bundle):
    """The prefill and step networks of an LMConv network, and what pictures it models."""

    manifest_type = LMConvManifest

    @property
    def manifest(self) -> LMConvManifest:
        """What bundle.json says."""
        assert isinstance(self._manifest, LMConvManifest)
        return self._manifest
