"""Test-time optimization with frozen networks: text to SVG, pictures to SVG."""

__version__ = "0.1.0"
