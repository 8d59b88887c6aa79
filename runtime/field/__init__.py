"""Scenes in three dimensions: cameras, captures, fields, volume rendering, meshes and films.

Cameras are camera-to-world in the OpenGL convention (+x right, +y up, looking down -z); the centre of a pixel is at .5.
"""
