"""Serve the methods: jobs that survive a killed server, a studio page, a Triton model repository, batches."""
