"""FacePBR in Blender: from a portrait photo to a relightable head. Registers only; never imports torch."""

from . import gltf, operators, panels, preferences, properties, thumbnails, translations

bl_info = {  # for Blender before 4.2; later ones read blender_manifest.toml
    "name": "FacePBR",
    "author": "FacePBR contributors",
    "version": (0, 0, 0),
    "blender": (3, 4, 0),
    "location": "3D Viewport > Sidebar > FacePBR",
    "description": "Turn one portrait photo into a relightable, textured head",
    "category": "Material",
}

_MODULES = (translations, preferences, properties, thumbnails, operators, panels)

# Blender's glTF exporter looks for these two names.
glTF2_pre_export_callback = gltf.before
glTF2_post_export_callback = gltf.after


def register() -> None:
    """Register every class, in the order in which they need each other."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Undo register(), in the opposite order; a running job ends."""
    for module in reversed(_MODULES):
        module.unregister()
