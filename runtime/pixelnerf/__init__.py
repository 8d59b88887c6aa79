"""One picture to 3D: a field that is conditioned on pictures (pixelNeRF; arXiv:2012.02190; thesis 3.5.2)."""
