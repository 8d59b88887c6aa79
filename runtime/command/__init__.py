"""What every command shares: parsing, ranges, where networks run, threads."""
