"""Specs of large networks: a free batch that stays small."""

from collections.abc import Mapping
from dataclasses import replace

from export import cut
from runtime.engines.spec import EngineSpec

BATCH = (1, 2, 16)
"""Least, typical and greatest batch: one picture and its guided pair to eight pairs; a larger batch runs in parts."""


def batched(name: str, inputs: Mapping[str, tuple], outputs: Mapping[str, tuple]) -> EngineSpec:
    """Return a spec whose tensors all have a free first dimension `B`; arguments as of `export.cut.batched`."""
    return replace(cut.batched(name, inputs, outputs), ranges={"B": BATCH})
