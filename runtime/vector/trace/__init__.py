"""LIVE: a picture traced with closed paths, layer by layer."""
