"""`python -m runtime.lift`."""

from runtime.errors import run_main
from runtime.lift import main

if __name__ == "__main__":
    run_main(main)
