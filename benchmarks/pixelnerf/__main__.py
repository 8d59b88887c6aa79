"""`python -m benchmarks.pixelnerf`."""

from benchmarks.pixelnerf.quality import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
