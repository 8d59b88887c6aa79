"""Stable Diffusion to a bundle: text encoders, U-Net and autoencoder of the 1.x, 2.x, XL and turbo families."""
