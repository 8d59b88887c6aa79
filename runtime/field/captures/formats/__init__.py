"""The formats that captures have on disk, a reader each."""
