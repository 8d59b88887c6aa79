"""What bundles are written by."""
