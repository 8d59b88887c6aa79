"""The commands of `python -m serving`."""
