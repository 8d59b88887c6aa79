"""Measurements: one file a question, a table in README.md."""

from runtime.command.threads import limit_spinning

limit_spinning()  # as the commands do: here nothing has loaded PyTorch yet
