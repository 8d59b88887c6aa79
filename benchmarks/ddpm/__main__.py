"""`python -m benchmarks.ddpm`."""

from benchmarks.ddpm.speed import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
