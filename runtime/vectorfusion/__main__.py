"""`python -m runtime.vectorfusion`."""

from runtime.errors import run_main
from runtime.vectorfusion import main

if __name__ == "__main__":
    run_main(main)
