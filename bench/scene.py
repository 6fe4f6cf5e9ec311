"""Everything bench does in Blender, and the only module of bench with bpy: scene, head, skin, light, render.

Works under the bpy wheel and under ``blender -b -P`` from 3.4 to 5.x: Principled inputs are looked
up by name through core.principled, and numpy is the only other import. Head space (metres, +Y up, +Z out
of the face) becomes Blender's in :func:`core.environment.head_to_blender`: the face looks along -Y.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from core import principled
from core.camera import BLENDER_SENSOR_MM, blender_camera
from core.environment import head_to_blender
from core.exposure import BLENDER_HDRIS, face_exposure
from core.passes import PASS_BY_KEY
from core.principled import set_value, socket
from core.shading import skin_roughness

MapSource = Path | str | np.ndarray
"""A map: an image file, or (H, W[, C]) float [0, 1] as stored, top row first."""


@dataclass(frozen=True)
class SkinOptions:
    """How the passes drive the Principled BSDF."""

    subsurface: float = 1.0
    """Subsurface Weight = subsurface * translucency."""
    subsurface_scale_m: float = principled.SUBSURFACE_SCALE_M
    subsurface_radius: tuple[float, float, float] = principled.SUBSURFACE_RADIUS
    normal_strength: float = 1.0
    occlusion: float = 0.0
    """Share of the ambient occlusion multiplied into the base colour; Cycles finds its own."""
    specular: float = 1.0
    """Specular IOR Level = specular * specular pass."""
    coat: float = 0.0
    """Weight of a second, sharper lobe."""


@dataclass(frozen=True)
class Head:
    """A head in the scene."""

    object: Any
    eyes: tuple[Any, ...]


# --- scene ----------------------------------------------------------------------------------------


def reset() -> Any:
    """An empty scene with nothing left from before; returns it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what Blender's C code prints on stdout to nowhere."""
    saved = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)


def make_image(source: MapSource, name: str, is_data: bool) -> Any:
    """A file or an array as a packed Blender image; data maps get no colour transform.

    Arrays become 8-bit images: colours stay as they are stored, sRGB-encoded.
    """
    if isinstance(source, np.ndarray):
        pixels = source[..., None] if source.ndim == 2 else source
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        height, width = pixels.shape[:2]
        image = bpy.data.images.new(name, width, height)
        rgba = np.ones((height, width, 4), np.float32)
        rgba[..., :3] = np.clip(pixels[::-1], 0.0, 1.0)
        image.pixels.foreach_set(rgba.ravel())
        image.update()
        image.pack()
    else:
        image = bpy.data.images.load(str(source))
        image.name = name
    if is_data:
        image.colorspace_settings.is_data = True
    return image


def image_pixels(image: Any) -> np.ndarray:
    """(H, W, 3) float32, top row first: linear for float images, as stored for byte images."""
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return np.ascontiguousarray(pixels.reshape(height, width, image.channels)[::-1, :, :3])


def write_png(path: Path, pixels: np.ndarray) -> None:
    """(H, W, 3) float [0, 1] sRGB-encoded -> 8-bit PNG, without any other library."""
    image = make_image(pixels, path.name, is_data=False)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def read_png(path: Path) -> np.ndarray:
    """8-bit image -> (H, W, 3) float32 [0, 1], as stored."""
    image = bpy.data.images.load(str(path))
    pixels = image_pixels(image)
    bpy.data.images.remove(image)
    return pixels


# --- the head -------------------------------------------------------------------------------------


def add_mesh(
    name: str,
    vertices: np.ndarray,
    faces: np.ndarray,
    uv: np.ndarray,
    uv_faces: np.ndarray | None = None,
) -> Any:
    """A smooth-shaded object from head-space vertices (V, 3), faces (F, 3) and UVs (T, 2), v up."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(head_to_blender(np.asarray(vertices, np.float64)).tolist(), [], faces.tolist())
    layer = data.uv_layers.new(name="UVMap")
    corners = np.asarray(uv, np.float32)[faces if uv_faces is None else uv_faces]
    layer.data.foreach_set("uv", corners.reshape(-1))
    data.polygons.foreach_set("use_smooth", np.ones(len(data.polygons), bool))
    data.update()
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def load_result(folder: Path, options: SkinOptions | None = None) -> Head:
    """The head and eyes of a result folder (``head.glb``) wearing its ``passes/*.png``."""
    folder = Path(folder)
    if not (folder / "head.glb").is_file():
        raise FileNotFoundError(f"expected a result folder with head.glb; got {folder}")
    before = set(bpy.data.objects)
    if bpy.app.version < (3, 6, 0) and "bool" not in vars(np):
        np.bool = bool  # that Blender's glTF importer still uses the alias numpy removed in 1.24
    with quiet():
        bpy.ops.import_scene.gltf(filepath=str(folder / "head.glb"))
    meshes = [thing for thing in bpy.data.objects if thing not in before and thing.type == "MESH"]
    head = next(thing for thing in meshes if thing.name.split(".")[0] == "head")
    maps = {key: folder / "passes" / f"{key}.png" for key in PASS_BY_KEY}
    material = skin_material({key: path for key, path in maps.items() if path.is_file()}, options)
    head.data.materials.clear()
    head.data.materials.append(material)
    return Head(head, tuple(thing for thing in meshes if thing is not head))


def _empty_material(name: str) -> tuple[Any, Any]:
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.clear()
    output = material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    output.location = (400, 0)
    return material, output


def skin_material(
    maps: Mapping[str, MapSource], options: SkinOptions | None = None, name: str = "skin"
) -> Any:
    """A Principled skin from the passes (any may be missing); returns the material.

    albedo -> Base Color; normal -> Normal Map (tangent) -> Normal; specular -> Specular IOR Level at
    IOR 1.4 (0.5 is skin's own 2.8 %); roughness is regional (maps["roughness"] where given);
    translucency -> Subsurface Weight, times ``options.subsurface``, as a random walk of 4 mm.
    """
    options = options or SkinOptions()
    material, output = _empty_material(name)
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    principled.set_skin(
        shader, bpy.app.version, options.subsurface_scale_m, options.subsurface_radius
    )
    set_value(shader, "coat", options.coat)
    set_value(shader, "coat_roughness", 0.2)

    def texture(key: str, row: int, is_data: bool) -> Any:
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = make_image(maps[key], key, is_data)
        node.extension = "EXTEND"
        node.label, node.location = key, (-800, 300 - 300 * row)
        return node.outputs["Color"]

    def scaled(source: Any, factor: float) -> Any:
        node = tree.nodes.new("ShaderNodeMath")
        node.operation = "MULTIPLY"
        tree.links.new(source, node.inputs[0])
        node.inputs[1].default_value = factor
        return node.outputs[0]

    if "albedo" in maps:
        color = texture("albedo", 0, is_data=False)
        if options.occlusion > 0 and "ambient_occlusion" in maps:
            openness = texture("ambient_occlusion", 1, is_data=True)
            mix = tree.nodes.new("ShaderNodeMixRGB")
            mix.blend_type = "MULTIPLY"
            mix.inputs["Fac"].default_value = options.occlusion
            tree.links.new(color, mix.inputs["Color1"])
            tree.links.new(openness, mix.inputs["Color2"])
            color = mix.outputs["Color"]
        tree.links.new(color, socket(shader, "base_color"))
        if socket(shader, "subsurface_color") is not None:  # 3.4 has a colour of its own for it
            tree.links.new(color, socket(shader, "subsurface_color"))
    if "normal" in maps:
        bend = tree.nodes.new("ShaderNodeNormalMap")
        bend.inputs["Strength"].default_value = options.normal_strength
        tree.links.new(texture("normal", 2, is_data=True), bend.inputs["Color"])
        tree.links.new(bend.outputs["Normal"], socket(shader, "normal"))
    if "specular" in maps:
        factor = options.specular * principled.specular_factor(bpy.app.version)
        tree.links.new(
            scaled(texture("specular", 3, is_data=True), factor), socket(shader, "specular")
        )
    maps = dict(maps)
    if "roughness" not in maps:
        maps["roughness"] = skin_roughness(512)
    tree.links.new(texture("roughness", 4, is_data=True), socket(shader, "roughness"))
    if "translucency" in maps and options.subsurface > 0:
        thin = scaled(texture("translucency", 5, is_data=True), options.subsurface)
        tree.links.new(thin, socket(shader, "subsurface"))
    return material


def matt_material(color: tuple[float, float, float], name: str = "matt") -> Any:
    """A Lambertian surface of linear ``color``; for tests."""
    material, output = _empty_material(name)
    shader = material.node_tree.nodes.new("ShaderNodeBsdfDiffuse")
    shader.inputs["Color"].default_value = (*color, 1.0)
    material.node_tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return material


# --- camera ---------------------------------------------------------------------------------------


def _new_camera(name: str) -> Any:
    thing = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    scene = bpy.context.scene
    scene.collection.objects.link(thing)
    scene.camera = thing
    return thing


def portrait_camera(head: Head, yaw_deg: float = 0.0, lens_mm: float = 85.0) -> Any:
    """A camera framing the head as a portrait: 36 mm film, at eye height; yaw to the head's left."""
    bpy.context.view_layer.update()
    points = _world_points(head.object)
    if head.eyes:
        eyes = np.concatenate([_world_points(eye) for eye in head.eyes])
        center = Vector((0.0, float(points[:, 1].mean()), float(eyes[:, 2].mean()) - 0.015))
        center.x = float(eyes[:, 0].mean())
    else:
        top = float(points[:, 2].max())
        center = Vector((float(points[:, 0].mean()), float(points[:, 1].mean()), top - 0.13))
    thing = _new_camera("portrait")
    thing.data.lens, thing.data.sensor_width = lens_mm, BLENDER_SENSOR_MM
    distance = 0.29 * lens_mm / BLENDER_SENSOR_MM + 0.09  # 29 cm of height at the face
    yaw = math.radians(yaw_deg)
    offset = Vector((math.sin(yaw), -math.cos(yaw), 0.0)) * distance
    thing.location = center + offset
    thing.rotation_euler = (-offset).to_track_quat("-Z", "Y").to_euler()
    return thing


def _world_points(thing: Any) -> np.ndarray:
    flat = np.empty(3 * len(thing.data.vertices), np.float32)
    thing.data.vertices.foreach_get("co", flat)
    matrix = np.array(thing.matrix_world)
    return flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def photo_camera(report: Mapping[str, Any]) -> Any:
    """The photo's own camera from a report's ``camera`` entry (OpenCV: x_cam = R x_head + t).

    The render's size is set to the photo's aspect by the caller, for instance with
    :func:`setup_cycles` and (height, width) in proportion.
    """
    found = blender_camera(report)
    thing = _new_camera("photo")
    thing.data.sensor_fit = found.sensor_fit
    thing.data.sensor_width = thing.data.sensor_height = BLENDER_SENSOR_MM
    thing.data.lens = found.lens_mm
    thing.data.shift_x, thing.data.shift_y = found.shift_x, found.shift_y
    thing.data.clip_start = 0.01
    thing.matrix_world = Matrix(found.matrix_world.tolist())
    return thing


# --- light ----------------------------------------------------------------------------------------


def hdri_path(name: str) -> Path:
    """Path of one of Blender's own eight HDRIs; ValueError for other names."""
    if name not in BLENDER_HDRIS:
        raise ValueError(f"expected one of {', '.join(BLENDER_HDRIS)}; got {name!r}")
    return Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / f"{name}.exr"


def _float_image(name: str, linear: np.ndarray) -> Any:
    """(H, W, 3) linear radiance -> packed float image."""
    height, width = linear.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=True)
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = linear[::-1]
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    image.pack()
    return image


def _out_of_focus(environment: np.ndarray, height: int = 64) -> np.ndarray:
    """Block means of an equirect image, ``height`` rows (or as it is, where that does not divide)."""
    rows, columns = environment.shape[:2]
    step = rows // height
    if step < 2 or rows % height or columns % step:
        return environment
    blocks = environment.reshape(height, step, columns // step, step, 3)
    return blocks.mean(axis=(1, 3))


def set_world(
    source: MapSource,
    rotation_deg: float = 0.0,
    strength: float | None = None,
    soft_background: bool = True,
) -> float:
    """Light the scene by an equirect .exr/.hdr (or array, linear); returns the strength used.

    ``rotation_deg`` turns it about the vertical, counter-clockwise seen from above; ``strength``
    None exposes for the face (core.exposure). With ``soft_background`` the camera sees the
    environment out of focus, as behind a portrait lens; reflections and light stay sharp.
    """
    world = bpy.data.worlds.new("light")
    bpy.context.scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    if isinstance(source, np.ndarray):
        image = _float_image("environment", source)
    else:
        image = bpy.data.images.load(str(source))
    if strength is None:
        strength = face_exposure(image_pixels(image), rotation_deg)
    output = tree.nodes.new("ShaderNodeOutputWorld")
    shade = tree.nodes.new("ShaderNodeBackground")
    shade.inputs["Strength"].default_value = strength
    picture = tree.nodes.new("ShaderNodeTexEnvironment")
    picture.image = image
    mapping = tree.nodes.new("ShaderNodeMapping")
    mapping.inputs["Rotation"].default_value[2] = -math.radians(rotation_deg)
    where = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(where.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], shade.inputs["Color"])
    surface = shade.outputs[0]
    if soft_background:
        blurred = tree.nodes.new("ShaderNodeTexEnvironment")
        blurred.image = _float_image("background", _out_of_focus(image_pixels(image)))
        blurred.interpolation = "Cubic"
        tree.links.new(mapping.outputs["Vector"], blurred.inputs["Vector"])
        plain = tree.nodes.new("ShaderNodeBackground")
        plain.inputs["Strength"].default_value = strength
        tree.links.new(blurred.outputs["Color"], plain.inputs["Color"])
        ray = tree.nodes.new("ShaderNodeLightPath")
        mix = tree.nodes.new("ShaderNodeMixShader")
        tree.links.new(ray.outputs["Is Camera Ray"], mix.inputs[0])
        tree.links.new(surface, mix.inputs[1])
        tree.links.new(plain.outputs[0], mix.inputs[2])
        surface = mix.outputs[0]
    tree.links.new(surface, output.inputs["Surface"])
    return strength


# --- render ---------------------------------------------------------------------------------------


def setup_cycles(
    size: int | tuple[int, int], samples: int, denoise: bool = True, seed: int = 0
) -> bool:
    """Cycles on the CPU, ``size`` px square or (height, width), plain sRGB output ('Standard').

    OpenImageDenoise where this Blender was built with it (Debian's is not), else no denoising;
    returns whether the picture will be denoised.
    """
    scene = bpy.context.scene
    height, width = (size, size) if isinstance(size, int) else size
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.cycles.device = "CPU"
    scene.cycles.samples, scene.cycles.seed = samples, seed
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    if denoise:
        with contextlib.suppress(TypeError):  # an enum this build does not have
            scene.cycles.denoiser = "OPENIMAGEDENOISE"
            scene.cycles.use_denoising = True
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0
    return scene.cycles.use_denoising


def render(path: Path) -> np.ndarray:
    """Render to an 8-bit PNG; returns it as (H, W, 3) float32 sRGB-encoded [0, 1]."""
    scene = bpy.context.scene
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
    scene.render.filepath = str(path)
    with quiet():
        bpy.ops.render.render(write_still=True)
    return read_png(Path(path))


def render_linear(path: Path) -> np.ndarray:
    """Render to a 32-bit EXR; returns linear radiance (H, W, 3) float32."""
    scene = bpy.context.scene
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"
    scene.render.filepath = str(path)
    with quiet():
        bpy.ops.render.render(write_still=True)
    return read_png(Path(path))
