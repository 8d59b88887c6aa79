"""The class of each kind of bundle."""

from runtime.engines.bundle.ddpm import DdpmBundle
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.engines.bundle.folder import Bundle
from runtime.engines.bundle.lmconv import LMConvBundle
from runtime.engines.bundle.pixelnerf import PixelNeRFBundle

BUNDLES: dict[str, type[Bundle]] = {
    bundle.manifest_type.kind: bundle for bundle in (DiffusionBundle, LMConvBundle, DdpmBundle, PixelNeRFBundle)
}
"""What `Bundle.load` makes of each kind; a new kind needs one more class here, and its manifest in `installed`."""
