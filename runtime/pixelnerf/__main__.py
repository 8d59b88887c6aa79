"""`python -m runtime.pixelnerf`."""

from runtime.errors import run_main
from runtime.pixelnerf import main

if __name__ == "__main__":
    run_main(main)
