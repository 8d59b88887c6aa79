"""Triton: networks and methods as its models, a server out of a wheel, and engines and lanes that call it."""
