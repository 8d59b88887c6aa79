"""`python -m runtime.nerf`."""

from runtime.errors import run_main
from runtime.nerf import main

if __name__ == "__main__":
    run_main(main)
