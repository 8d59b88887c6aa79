"""The version of this package: runs and drawings carry it."""

__version__ = "0.1.0"
