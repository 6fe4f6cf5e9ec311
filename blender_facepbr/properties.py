"""What the user sets, on the scene: one PropertyGroup."""

import hashlib
from pathlib import Path
from typing import Any

import bpy

from . import head, light, materials
from .core.exposure import BLENDER_HDRIS
from .core.passes import CONFIDENCE_KEY, PASSES
from .result_files import Polygons

_TITLES = {
    "albedo": "Albedo",
    "ambient_occlusion": "Ambient Occlusion",
    "normal": "Normal",
    "specular": "Specular",
    "translucency": "Translucency",
    "raw_diffuse": "Raw Diffuse",
    CONFIDENCE_KEY: "Confidence",
}
_SOLO_KEYS = ("NONE", *(row.key for row in PASSES), CONFIDENCE_KEY)


def _solo_items() -> list[tuple[str, str, str]]:
    rows = [("NONE", "Shaded", "The skin material")]
    rows += [(row.key, _TITLES[row.key], row.meaning.capitalize()) for row in PASSES]
    return [*rows, (CONFIDENCE_KEY, "Confidence", "1 seen and trusted, 0 invented")]


def _get_solo(_settings: Any) -> int:
    found = head.active(bpy.context)
    key = materials.shown(found) if found else None
    return 0 if key is None else _SOLO_KEYS.index(key)


def _set_solo(_settings: Any, index: int) -> None:
    found = head.active(bpy.context)
    if found is not None:
        materials.show_only(found, _SOLO_KEYS[index] if index else None)


def _get_posed(_settings: Any) -> bool:
    found = head.active(bpy.context)
    return found is not None and head.is_posed(found)


def _set_posed(_settings: Any, posed: bool) -> None:
    found = head.active(bpy.context)
    if found is not None:
        head.set_posed(found, posed)


def _has_uv(_settings: Any, thing: bpy.types.Object) -> bool:
    return thing.type == "MESH" and bool(thing.data.uv_layers) and not head.is_head(thing)


def _light_changed(settings: Any, context: bpy.types.Context) -> None:
    light.adjust(context.scene, settings.light_rotation, settings.light_exposure)


class FacePBRSettings(bpy.types.PropertyGroup):
    """Everything the panel sets."""

    photo: bpy.props.StringProperty(
        name="Photo", description="Portrait photo to decompose", subtype="FILE_PATH"
    )
    head_kind: bpy.props.EnumProperty(
        name="Head",
        description="Mesh that wears the result",
        items=[
            ("EMBEDDED", "FacePBR Head", "The head that comes with the add-on"),
            (
                "FILE",
                "OBJ File",
                "A head of your own in the HiFi3D UV layout; its vertex order stays",
            ),
            (
                "MESH",
                "Mesh",
                "A mesh of this file in the HiFi3D UV layout; the head is a copy of it, polygons and groups kept",
            ),
        ],
    )
    head_file: bpy.props.StringProperty(
        name="Head File", description="OBJ in the HiFi3D UV layout", subtype="FILE_PATH"
    )
    head_mesh: bpy.props.PointerProperty(
        name="Mesh",
        description="Mesh in the HiFi3D UV layout that is dressed",
        type=bpy.types.Object,
        poll=_has_uv,
    )
    mesh_shape: bpy.props.BoolProperty(
        name="Shape Key on Mesh",
        description="Also give the mesh itself the head's shape, as a shape key; nothing else of it is changed",
    )
    size: bpy.props.EnumProperty(
        name="Resolution",
        description="Side of the maps in texels",
        items=[(str(n), f"{n} px", f"Maps of {n} by {n} texels") for n in (256, 512, 1024, 2048)],
        default="1024",
    )
    bits: bpy.props.EnumProperty(
        name="Depth",
        description="Bits per channel of the maps",
        items=[("8", "8 bit", "Small files"), ("16", "16 bit", "Finer steps, larger files")],
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Where the networks run",
        items=[
            ("auto", "Automatic", "The GPU when there is one"),
            ("cpu", "CPU", "The processor"),
            ("cuda", "CUDA", "An NVIDIA GPU"),
            ("mps", "Metal", "An Apple GPU"),
        ],
    )
    light_removal: bpy.props.FloatProperty(
        name="Light Removal",
        description="How much of the photo's light is taken out of the albedo: 1 all that is recognised, 0 none",
        min=0.0,
        max=1.0,
        default=1.0,
        subtype="FACTOR",
    )
    storage: bpy.props.EnumProperty(
        name="Images",
        description="Where the maps are kept",
        items=[
            ("PACK", "Pack", "Inside the .blend file"),
            ("BESIDE", "Beside .blend", "In the folder facepbr beside the saved .blend file"),
        ],
    )
    use_camera: bpy.props.BoolProperty(
        name="Camera of Photo",
        description="Look through a camera placed as the photo's, and set the render to the photo's size",
        default=True,
    )
    use_world: bpy.props.BoolProperty(
        name="Light of Photo",
        description="Light the scene by the light estimated from the photo; off: the World stays as it is",
        default=True,
    )
    solo: bpy.props.EnumProperty(
        name="View",
        description="Show one map alone on the head",
        items=_solo_items(),
        get=_get_solo,
        set=_set_solo,
    )
    posed: bpy.props.BoolProperty(
        name="Expression",
        description="The photo's expression; off: the same face at rest, its shape keys at zero",
        get=_get_posed,
        set=_set_posed,
    )
    light_source: bpy.props.EnumProperty(
        name="Light",
        description="What lights the head",
        items=[
            ("PHOTO", "Photo", "The light estimated from the photo"),
            *[
                (name.upper(), name.capitalize(), f"Blender's own HDRI {name}")
                for name in BLENDER_HDRIS
            ],
            ("FILE", "HDRI File", "An equirectangular .exr or .hdr of your own"),
            ("USER", "My World", "The World the scene had before"),
        ],
    )
    light_file: bpy.props.StringProperty(
        name="HDRI", description="Equirectangular .exr or .hdr", subtype="FILE_PATH"
    )
    light_rotation: bpy.props.FloatProperty(
        name="Rotation",
        description="Turn of the light about the vertical, counter-clockwise seen from above",
        subtype="ANGLE",
        update=_light_changed,
    )
    light_exposure: bpy.props.FloatProperty(
        name="Exposure",
        description="Brighter or darker than exposed for the face, in stops",
        soft_min=-4.0,
        soft_max=4.0,
        update=_light_changed,
    )
    user_world: bpy.props.PointerProperty(
        name="My World", description="The scene's World before FacePBR lit it", type=bpy.types.World
    )


def worker_options(settings: FacePBRSettings, weights: str) -> dict[str, Any]:
    """The settings in the worker's words; ``weights`` is a folder or empty."""
    from .preferences import absolute

    options: dict[str, Any] = {
        "size": int(settings.size),
        "bits": int(settings.bits),
        "device": settings.device,
        "light_removal": settings.light_removal,
    }
    if settings.head_kind == "FILE":
        options["head"] = absolute(settings.head_file)
    if weights:
        options["weights"] = weights
    return options


def mesh_file(polygons: Polygons) -> Path:
    """Where a mesh lies as OBJ for the worker: in this Blender's own temporary folder, which ends with it.

    Named after the mesh's content: the worker stays warm for the same mesh.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    for values in (polygons.vertices, polygons.corners, polygons.uv, polygons.starts):
        digest.update(values.tobytes())
    return Path(bpy.app.tempdir) / f"facepbr-head-{digest.hexdigest()[:16]}.obj"


def register() -> None:
    """Put the group on the scene."""
    bpy.utils.register_class(FacePBRSettings)
    bpy.types.Scene.facepbr = bpy.props.PointerProperty(type=FacePBRSettings)


def unregister() -> None:
    """Take it off again."""
    del bpy.types.Scene.facepbr
    bpy.utils.unregister_class(FacePBRSettings)
