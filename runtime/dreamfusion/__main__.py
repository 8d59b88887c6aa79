"""`python -m runtime.dreamfusion`."""

from runtime.dreamfusion import main
from runtime.errors import run_main

if __name__ == "__main__":
    run_main(main)
