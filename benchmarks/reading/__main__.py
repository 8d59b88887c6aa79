"""`python -m benchmarks.reading`."""

from benchmarks.reading.measure import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
