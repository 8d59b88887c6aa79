"""Denoising diffusion probabilistic models of pixels (thesis 5.0.1; arXiv:2006.11239)."""
