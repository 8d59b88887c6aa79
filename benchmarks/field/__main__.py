"""`python -m benchmarks.field`."""

from benchmarks.field.rays import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
