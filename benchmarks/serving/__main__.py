"""`python -m benchmarks.serving`."""

from benchmarks.serving.measure import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
