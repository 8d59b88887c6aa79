"""Where the seconds of text to SVG go, from start to file."""
