"""Outlines: shapes and path data as contours of cubic segments, cut, stroked and joined."""
