"""Training code of the networks that tgm exports."""
