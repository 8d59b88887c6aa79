"""Train the small image-text dual encoder that ranks samples by their prompt."""
