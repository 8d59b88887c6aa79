"""pixelNeRF: a field that is conditioned on one to three pictures of an object (Thesis 3.5.2; arXiv:2012.02190)."""
