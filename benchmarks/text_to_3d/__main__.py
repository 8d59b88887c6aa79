"""`python -m benchmarks.text_to_3d`."""

from benchmarks.text_to_3d.measure import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
