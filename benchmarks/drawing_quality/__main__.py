"""`python -m benchmarks.drawing_quality`."""

from benchmarks.drawing_quality.measure import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
