"""`python -m runtime.lmconv`."""

from runtime.errors import run_main
from runtime.lmconv import main

if __name__ == "__main__":
    run_main(main)
