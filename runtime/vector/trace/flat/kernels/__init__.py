"""Compiled: what is done for every pixel or point of a flat picture."""
