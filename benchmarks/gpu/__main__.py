"""`python -m benchmarks.gpu`."""

from benchmarks.gpu.command import main
from runtime.errors import run_main

if __name__ == "__main__":  # the process that starts the parts imports this file, too
    run_main(main)
