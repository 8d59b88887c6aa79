"""`python -m export check`: the hashes and sizes of a bundle."""

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Check:
    """Verify the hashes of a bundle and print its sizes."""

    bundle: Annotated[str, tyro.conf.Positional]
    """Name of an installed bundle, or its folder."""


def run_check(options: Check) -> int:
    """Load a bundle, which verifies it, and print its sizes."""
    from export.write.sizes import format_sizes
    from runtime.engines.bundle import Bundle

    bundle = Bundle.load(options.bundle)
    print(f"bundle {bundle.name} ({bundle.licence}): every file has its hash")
    print(format_sizes(bundle.folder))
    return 0
