"""`python -m benchmarks.sheet`."""

from benchmarks.sheet.prompts import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
