"""FacePBR: one portrait photo in, six physically based passes on a fitted head out. Knows nothing of Blender."""

__version__ = "0.1.0"
