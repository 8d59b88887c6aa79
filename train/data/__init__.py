"""Data sets: how each is built, and how it is read."""
