"""Specs of large networks: a free batch that stays small."""

from functools import partial

from export import network

BATCH = (1, 2, 16)
"""Least, typical and greatest batch: one picture and its guided pair to eight pairs; a larger batch runs in parts."""

batched = partial(network.batched, batch=BATCH)
"""Like `export.network.batched`, with a small batch."""
