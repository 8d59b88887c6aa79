"""`python -m benchmarks.tables`."""

from benchmarks.tables.measure import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
