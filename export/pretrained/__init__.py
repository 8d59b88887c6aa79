"""Weights and tokenizers of others, as Stable Diffusion and CLIP share them."""
