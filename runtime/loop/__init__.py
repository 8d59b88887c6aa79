"""The loop of every method, its run folder, its progress."""
