"""`python -m train.latent_diffusion`: what commands there are."""

from runtime.command.listing import run_listing
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(run_listing("train.latent_diffusion"))
