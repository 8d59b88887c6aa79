"""A small text-conditional latent diffusion model of icons: autoencoder, U-Net, text encoder."""
