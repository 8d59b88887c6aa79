"""A text encoder that remembers: a run encodes its prompt once, though sampling, ranking and distillation each ask."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from runtime.engines.protocols import TextEncoder

CAPACITY = 16
"""Texts that are remembered; one of Stable Diffusion XL's takes 0.6 MB."""


class RememberingTextEncoder:
    """A `TextEncoder` over another one, which it calls for texts that it has not encoded lately."""

    def __init__(self, encoder: TextEncoder, capacity: int = CAPACITY) -> None:
        """Wrap an encoder; of the texts that it encodes the latest `capacity` are remembered."""
        self.encoder, self.capacity = encoder, capacity
        self._contexts: OrderedDict[str, Float[Tensor, "N D"]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "B N D"]:
        """Return the context of prompts in a fresh tensor; errors as of the encoder."""
        if isinstance(prompts, str) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
            return self.encoder(prompts)  # which refuses them in its own words
        # held while the encoder runs, so that two threads with one prompt do not both encode it
        with self._lock:
            if all(prompt in self._contexts for prompt in prompts):
                return torch.stack([self._contexts[prompt] for prompt in prompts])
            # Encoded in one call, the known ones too: an engine's last bits may depend on the batch, and so a pair of
            # prompts has the same bits whatever was encoded before it.
            contexts = self.encoder(prompts)
            for prompt, context in zip(prompts, contexts, strict=True):
                self._contexts[prompt] = context.clone()  # the caller may write into its own
                self._contexts.move_to_end(prompt)
            while len(self._contexts) > self.capacity:
                self._contexts.popitem(last=False)
            return contexts

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt has no more tokens than the network takes."""
        return self.encoder.fits(prompt)
