"""Measurements and renders that show how good the passes are; scene.py is the only module with bpy."""
