"""The light round a head, and Cycles."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from core.exposure import BLENDER_HDRIS, face_exposure

from .images import MapSource, float_image, image_pixels, quiet, read_png, write_png


def reset() -> Any:
    """An empty scene with nothing left from before; returns it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def hdri_path(name: str) -> Path:
    """Path of one of Blender's own eight HDRIs; ValueError for other names."""
    if name not in BLENDER_HDRIS:
        raise ValueError(f"expected one of {', '.join(BLENDER_HDRIS)}; got {name!r}")
    return Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / f"{name}.exr"


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
        image = float_image("environment", source)
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
        blurred.image = float_image("background", _out_of_focus(image_pixels(image)))
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


def gpu_backend() -> str:
    """The first of OPTIX, CUDA, HIP, METAL, ONEAPI with a device on this machine, switched on; "" without one."""
    settings = bpy.context.preferences.addons["cycles"].preferences
    for backend in ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI"):
        with contextlib.suppress(TypeError, ValueError):  # a backend this build does not know
            devices = settings.get_devices_for_type(backend)
            if devices:
                settings.compute_device_type = backend
                for device in devices:
                    device.use = True
                return backend
    return ""


def setup_cycles(
    size: int | tuple[int, int],
    samples: int,
    denoise: bool = True,
    seed: int = 0,
    gpu: bool = False,
) -> bool:
    """Cycles, ``size`` px square or (height, width), plain sRGB output ('Standard').

    On the CPU, with ``gpu`` on a GPU where there is one.

    OpenImageDenoise where this Blender was built with it (Debian's is not), else no denoising;
    returns whether the picture will be denoised.
    """
    scene = bpy.context.scene
    height, width = (size, size) if isinstance(size, int) else size
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.cycles.device = "GPU" if gpu and gpu_backend() else "CPU"
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


def render_mask(path: Path) -> np.ndarray:
    """Where the camera sees the head (H, W) bool, from the alpha of a quick render; also written as a grey PNG."""
    scene = bpy.context.scene
    before = scene.cycles.samples, scene.render.film_transparent
    scene.cycles.samples, scene.render.film_transparent = 1, True
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
    scene.render.filepath = str(path)
    with quiet():
        bpy.ops.render.render(write_still=True)
    scene.cycles.samples, scene.render.film_transparent = before
    image = bpy.data.images.load(str(path))
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    mask = pixels.reshape(height, width, 4)[::-1, :, 3] > 0.5
    write_png(path, np.repeat(mask[..., None], 3, axis=2).astype(np.float32))
    return mask
