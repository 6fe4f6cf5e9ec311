"""Everything bench does in Blender, and its only room with bpy: images, skin, heads and cameras, light and Cycles.

Works under the bpy wheel and under ``blender -b -P`` from 3.4 to 5.x; numpy is the only other import.
Head space (metres, +Y up, +Z out of the face) becomes Blender's in core.environment.head_to_blender:
the face looks along -Y.
"""

from .head import (
    Head,
    add_mesh,
    camera_entry,
    load_head,
    load_result,
    photo_camera,
    portrait_camera,
    remove,
    wear,
)
from .images import MapSource, image_pixels, make_image, quiet, read_png, write_png
from .render import (
    hdri_path,
    render,
    render_linear,
    render_mask,
    reset,
    set_world,
    setup_cycles,
)
from .script import script_arguments
from .skin import SkinOptions, matt_material, skin_material

__all__ = [
    "Head",
    "MapSource",
    "SkinOptions",
    "add_mesh",
    "camera_entry",
    "hdri_path",
    "image_pixels",
    "load_head",
    "load_result",
    "make_image",
    "matt_material",
    "photo_camera",
    "portrait_camera",
    "quiet",
    "read_png",
    "remove",
    "render",
    "render_linear",
    "render_mask",
    "reset",
    "script_arguments",
    "set_world",
    "setup_cycles",
    "skin_material",
    "wear",
    "write_png",
]
