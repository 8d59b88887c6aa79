"""`python -m runtime.vectorize`."""

from runtime.errors import run_main
from runtime.vectorize import main

if __name__ == "__main__":
    run_main(main)
