"""The subcommands of `python -m export`, one file each."""
