"""`python -m runtime.ddpm`."""

from runtime.ddpm import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
