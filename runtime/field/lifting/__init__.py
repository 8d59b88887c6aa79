"""A picture of one object becomes a solid: matte, appendages by colour, half thickness, and colours for back and sides.

    solid = lift(picture, nodes=97, back="auto")

Notation: the picture lies in the plane of y (right) and z (up), and the camera that took it stands on the axis of x at
`DISTANCE`; s is the square of half the thickness at a pixel, in pixels, so that the surface is where x^2 = s.
"""

from runtime.field.lifting.solid import BOX, DISTANCE, Lifted, lift

__all__ = ["BOX", "DISTANCE", "Lifted", "lift"]
