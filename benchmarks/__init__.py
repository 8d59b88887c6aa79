"""Measurements: one file a question, a table in README.md."""
