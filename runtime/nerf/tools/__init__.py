"""What is done with a capture or a run beside fitting: listing, filming, looking."""
