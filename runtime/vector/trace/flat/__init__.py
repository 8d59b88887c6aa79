"""Flat pictures traced from their contours: areas of one colour, antialiased or not, and thin lines."""
