"""Image and text encoders of open_clip and timm to networks of a bundle."""
