"""Locally masked PixelCNNs: networks that model a picture in any generation order (Thesis chapter 2)."""
