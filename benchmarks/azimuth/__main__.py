"""Train the probe, or measure with it."""

from benchmarks.azimuth.measure import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
