"""`Bundle` with the class of each kind of bundle, which its `load` makes.

Everybody else takes `Bundle` from here, or from the package, which does: who has it has all kinds, and the module that
defines it need not import what derives from it.
"""

from collections.abc import Sequence

from runtime.engines.bundle.ddpm import DdpmBundle
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.engines.bundle.folder import Bundle
from runtime.engines.bundle.lmconv import LMConvBundle
from runtime.engines.bundle.pixelnerf import PixelNeRFBundle

__all__ = ["Bundle", "class_for"]

# A new kind needs one more class here, and its manifest in `installed`.
for bundle_class in (DiffusionBundle, LMConvBundle, DdpmBundle, PixelNeRFBundle):
    Bundle.kinds[bundle_class.manifest_type.kind] = bundle_class


def class_for(kinds: Sequence[str]) -> type[Bundle]:
    """Return the class whose `load` takes bundles of some kinds: of one kind alone where it is one."""
    # The class of one kind refuses others before it has hashed their files.
    return Bundle.kinds[kinds[0]] if len(kinds) == 1 else Bundle
