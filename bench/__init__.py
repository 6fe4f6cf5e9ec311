"""Measurements and renders that show how good the passes are; scene is the only room with bpy."""
