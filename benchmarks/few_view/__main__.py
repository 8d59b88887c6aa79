"""`python -m benchmarks.few_view`."""

from benchmarks.few_view.rows import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
