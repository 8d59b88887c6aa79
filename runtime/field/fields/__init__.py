"""Fields: density and colour at every place of a box, on a grid or by a network."""
