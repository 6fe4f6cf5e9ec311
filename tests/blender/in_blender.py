"""Runs inside a real Blender: installs the zip as a user would and carries out one named check.

    python in_blender.py CHECK JSON                                     (bpy wheel)
    blender -b --factory-startup --python-exit-code 1 -P in_blender.py -- CHECK JSON

The last line printed is ``RESULT`` and what the check returned, as JSON. The tests beside this file call it.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import bpy


def install(archive: str) -> str:
    """Install and enable the zip, where this Blender's user folder does not have it yet; returns the module's name."""
    extension = bpy.app.version >= (4, 2, 0)
    name = "bl_ext.user_default.facepbr" if extension else "facepbr"
    user = Path(os.environ["BLENDER_USER_RESOURCES"])
    if any(user.rglob("facepbr/runtime-requirements.txt")):
        bpy.ops.preferences.addon_enable(module=name)
    elif extension:
        bpy.ops.extensions.package_install_files(
            filepath=archive, repo="user_default", enable_on_install=True
        )
    else:
        bpy.ops.preferences.addon_install(filepath=archive, overwrite=True)
        bpy.ops.preferences.addon_enable(module=name)
    return name


def setup(given: dict) -> str:
    """Empty scene, add-on on, its runtime and weights chosen; returns the add-on's module name."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    name = install(given["archive"])
    chosen = bpy.context.preferences.addons[name].preferences
    chosen.python = given.get("python", "")
    chosen.weights = given.get("weights", "")
    settings = bpy.context.scene.facepbr
    settings.size, settings.device = "256", "cpu"
    return name


def module(name: str, part: str):
    """A module of the installed add-on."""
    return sys.modules[f"{name}.{part}"]


def refused(call, *arguments, **options) -> str:
    """The error an operator ends with; fails when it ends well."""
    try:
        call(*arguments, **options)
    except RuntimeError as error:
        return str(error).strip()
    raise AssertionError(f"{call} was not refused")


def counts() -> dict:
    """How many datablocks there are of what we make."""
    kinds = ("objects", "meshes", "materials", "images", "worlds", "cameras", "collections")
    return {kind: len(getattr(bpy.data, kind)) for kind in (*kinds, "node_groups")}


def describe() -> dict:
    """The scene as a test wants to know it."""
    images = {
        image.name: {
            "data": image.colorspace_settings.is_data,
            "packed": image.packed_file is not None,
            "size": list(image.size),
            "path": image.filepath_raw,
        }
        for image in bpy.data.images
        if image.type == "IMAGE"
    }
    heads = [thing for thing in bpy.data.objects if isinstance(thing.get("facepbr"), str)]
    return {
        "version": bpy.app.version_string,
        "counts": counts(),
        "images": images,
        "heads": [
            {
                "name": thing.name,
                "vertices": len(thing.data.vertices),
                "children": [child.name for child in thing.children],
                "top_m": max(vertex.co.z for vertex in thing.data.vertices),
                "front_m": min(vertex.co.y for vertex in thing.data.vertices),
                "place_m": list(thing.location),
            }
            for thing in heads
        ],
        "camera": bpy.context.scene.camera.name if bpy.context.scene.camera else None,
        "world": bpy.context.scene.world.name if bpy.context.scene.world else None,
        "render": [bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y],
    }


def background_color() -> list[float]:
    """Colour of the photo behind the camera, a tenth of its width and height from the top left corner."""
    image = bpy.context.scene.camera.data.background_images[0].image
    width, height = image.size
    flat = [0.0] * (width * height * image.channels)
    image.pixels.foreach_get(flat)
    start = (int(0.9 * height) * width + int(0.1 * width)) * image.channels
    return flat[start : start + 3]


# --- checks ---


def check_register(given: dict) -> dict:
    """Three times on and off, twice on in a row."""
    name = setup(given)
    for _ in range(3):
        bpy.ops.preferences.addon_disable(module=name)
        assert not hasattr(bpy.types.Scene, "facepbr")
        bpy.ops.preferences.addon_enable(module=name)
    bpy.ops.preferences.addon_enable(module=name)
    handlers = [h for h in bpy.app.handlers.load_pre if h.__module__.startswith(name)]
    torch = [m for m in sys.modules if m.split(".")[0] in ("torch", "cv2")]
    return {
        "panels": hasattr(bpy.types, "FACEPBR_PT_portrait"),
        "handlers": len(handlers),
        "torch": torch,
        "version": list(sys.modules[name].bl_info["version"]),
    }


def check_decompose(given: dict) -> dict:
    """The blocking job; returns the scene."""
    setup(given)
    before = set(os.listdir(tempfile.gettempdir()))
    assert bpy.ops.facepbr.decompose(filepath=given["photo"]) == {"FINISHED"}
    scene = describe()
    bpy.ops.facepbr.free_memory()

    def left() -> list[str]:
        return [
            n for n in set(os.listdir(tempfile.gettempdir())) - before if n.startswith("facepbr-")
        ]

    until = time.monotonic() + 10  # the job's folder is removed in a thread
    while left() and time.monotonic() < until:
        time.sleep(0.05)
    scene["left"] = left()
    if "save" in given:
        bpy.ops.wm.save_as_mainfile(filepath=given["save"])
    return scene


def check_apply(given: dict) -> dict:
    """A finished result folder into the scene, saved where asked."""
    setup(given)
    if given.get("storage") == "BESIDE":
        bpy.ops.wm.save_as_mainfile(filepath=given["save"])
        bpy.context.scene.facepbr.storage = "BESIDE"
    if given.get("crowded"):  # Blender's cube at the origin, and then a first head beside it
        bpy.ops.mesh.primitive_cube_add(size=2)
        bpy.ops.facepbr.apply_result(directory=given["folder"])
    bpy.ops.facepbr.apply_result(directory=given["folder"], photo=given.get("photo", ""))
    if "save" in given:
        bpy.ops.wm.save_as_mainfile(filepath=given["save"])
    scene = describe()
    if scene["camera"]:
        scene["camera_m"] = list(bpy.context.scene.camera.location)
    if given.get("photo"):
        scene["background"] = background_color()
    return scene


def check_shapes(given: dict) -> dict:
    """The head's points in head space with the photo's expression and at rest."""
    setup(given)
    bpy.ops.facepbr.apply_result(directory=given["folder"])
    thing = bpy.context.object
    points = {}
    for label, posed in (("posed", True), ("rest", False)):
        bpy.context.scene.facepbr.posed = posed
        seen = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = seen.to_mesh()
        points[label] = [[v.co.x, v.co.z, -v.co.y] for v in mesh.vertices]
        seen.to_mesh_clear()
    return {"keys": [key.name for key in thing.data.shape_keys.key_blocks], **points}


def check_reload(given: dict) -> dict:
    """A saved file again: are the pixels of its maps there?"""
    bpy.ops.wm.open_mainfile(filepath=given["save"])
    scene = describe()
    for image in bpy.data.images:
        if image.name in scene["images"]:
            flat = [0.0] * (image.size[0] * image.size[1] * image.channels)
            image.pixels.foreach_get(flat)
            scene["images"][image.name]["mean"] = sum(flat) / max(len(flat), 1)
    return scene


def check_material(given: dict) -> dict:
    """What is wired to what, sliders, solo; the second head's view is its own."""
    name = setup(given)
    materials, head = module(name, "materials"), module(name, "head")
    principled, group_module = module(name, "core.principled"), module(name, "skin_group")
    bpy.ops.facepbr.apply_result(directory=given["folder"])
    thing = head.active(bpy.context)
    tree = thing.active_material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    sockets = {key: principled.socket(shader, key) for key in principled.SOCKETS}
    group = materials.group_node(thing)
    settings = bpy.context.scene.facepbr
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    solo = {}
    for key in ("NONE", "normal", "confidence"):
        settings.solo = key
        source = output.inputs["Surface"].links[0].from_node
        shown = source.inputs["Color"].links[0].from_node.name if source.type == "EMISSION" else ""
        solo[key] = [source.type, shown, settings.solo]
    bpy.ops.facepbr.apply_result(directory=given["folder"])
    return {
        "linked": {key: found.is_linked for key, found in sockets.items() if found is not None},
        "inputs": {socket.name: socket.is_linked for socket in group.inputs},
        "defaults": {s.name: group.inputs[s.name].default_value for s in group_module.SLIDERS},
        "described": [s.name for s in group_module.SLIDERS if not s.description],
        "frames": sorted(node.label for node in tree.nodes if node.type == "FRAME"),
        "solo": solo,
        "solo_of_second": settings.solo,
        "groups": [tree.name for tree in bpy.data.node_groups],
        "ior": sockets["ior"].default_value,
        "method": shader.subsurface_method,
    }


def check_light(given: dict) -> dict:
    """Relight, turn, the user's World kept."""
    setup(given)
    mine = bpy.data.worlds.new("Mine")
    scene = bpy.context.scene
    scene.world = mine
    bpy.ops.facepbr.apply_result(directory=given["folder"])
    settings, names, strengths = scene.facepbr, [scene.world.name], {}
    for source in ("FOREST", "STUDIO"):
        settings.light_source = source
        bpy.ops.facepbr.relight()
        nodes = {node.type: node for node in scene.world.node_tree.nodes}
        strengths[source] = nodes["BACKGROUND"].inputs["Strength"].default_value
        names.append(scene.world.name)
    settings.light_rotation, settings.light_exposure = 1.0, 1.0
    turned = nodes["MAPPING"].inputs["Rotation"].default_value[2]
    brighter = nodes["BACKGROUND"].inputs["Strength"].default_value / strengths["STUDIO"]
    settings.light_source = "USER"
    bpy.ops.facepbr.relight()
    settings.light_source, settings.light_file = "FILE", "/nowhere/sky.exr"
    error = refused(bpy.ops.facepbr.relight)
    return {
        "names": names,
        "strengths": strengths,
        "turned": turned,
        "brighter": brighter,
        "last": scene.world.name,
        "worlds": len(bpy.data.worlds),
        "error": error,
    }


def check_export(given: dict) -> dict:
    """Maps folder and GLB, by our button and by Blender's own File > Export."""
    setup(given)
    bpy.ops.facepbr.apply_result(directory=given["folder"])
    out = Path(given["out"])
    skin = bpy.context.object.active_material.name
    before = counts()
    bpy.ops.facepbr.export_maps(directory=str(out / "maps"))
    bpy.ops.facepbr.export_glb(filepath=str(out / "head.glb"))
    bpy.ops.export_scene.gltf(
        filepath=str(out / "scene.glb"), export_format="GLB", export_morph=False
    )
    after = counts()
    after["node_groups"] = before["node_groups"]  # the exporter's own group stays
    assert before == after, (before, after)
    assert bpy.context.object.active_material.name == skin
    maps = sorted(path.name for path in (out / "maps").iterdir())
    return {"maps": maps, "parts": len(bpy.context.object.children)}


def check_mesh(given: dict) -> dict:
    """A mesh of the user's in the HiFi3D layout, here of quads where it can be, dressed and given a shape key."""
    name = setup(given)
    result_files, head = module(name, "result_files"), module(name, "head")
    read = result_files.read_obj(Path(given["obj"]))
    thing = head.add_mesh("My Mesh", read, bpy.context.scene.collection)
    thing.location = (1.0, 2.0, 3.0)
    mine = bpy.data.materials.new("Mine")
    thing.data.materials.append(mine)
    thing.vertex_groups.new(name="Nose").add([12451], 1.0, "REPLACE")
    settings = bpy.context.scene.facepbr
    settings.head_kind = "MESH"
    missing = refused(bpy.ops.facepbr.decompose, filepath=given["photo"])
    settings.head_mesh, settings.mesh_shape = thing, True
    assert bpy.ops.facepbr.decompose(filepath=given["photo"]) == {"FINISHED"}
    made = bpy.context.object
    shape = thing.data.shape_keys.key_blocks[-1]
    posed = head.polygons(made).vertices
    if made.data.shape_keys is not None:  # as the photo shows it, not at rest
        seen = made.evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = seen.to_mesh()
        posed = [[v.co.x, v.co.z, -v.co.y] for v in mesh.vertices]
    return {
        "missing": missing,
        "name": made.name,
        "vertices": len(made.data.vertices),
        "groups": [group.name for group in made.vertex_groups],
        "materials": [
            [slot.material.name for slot in item.material_slots] for item in (made, thing)
        ],
        "shape": [shape.name, shape.value],
        "apart_m": max(
            max(abs(a - b) for a, b in zip((c.co.x, c.co.z, -c.co.y), p))  # noqa: B905
            for c, p in zip(shape.data, posed)  # noqa: B905
        ),
        "mine_moved_m": max(
            max(abs(a - b) for a, b in zip((v.co.x, v.co.z, -v.co.y), p))  # noqa: B905
            for v, p in zip(thing.data.vertices, read.vertices)  # noqa: B905
        ),
    }


def check_runtime(given: dict) -> dict:
    """The managed environment, from a folder of wheels: offline rule, set up, used, removed, cancelled half-way."""
    name = setup({**given, "python": ""})
    managed, runtime, preferences = (module(name, x) for x in ("managed", "runtime", "preferences"))
    chosen = bpy.context.preferences.addons[name].preferences
    folder = Path(given["out"]) / "my environment"
    chosen.base_python, chosen.runtime_dir = given["python"], str(folder)
    found = {"none": refused(bpy.ops.facepbr.decompose, filepath="x.jpg")}
    found["online"] = preferences.online()
    if not preferences.online():
        found["offline"] = refused(bpy.ops.facepbr.set_up_runtime)
    chosen.wheels = given["empty"]
    found["no wheels"] = refused(bpy.ops.facepbr.set_up_runtime)
    chosen.wheels, chosen.torch_build = given["wheels"], "CUDA"
    found["wrong build"] = refused(bpy.ops.facepbr.set_up_runtime)
    found["left"] = folder.exists()
    chosen.torch_build = "CPU"
    assert bpy.ops.facepbr.set_up_runtime() == {"FINISHED"}
    found["interpreter"] = preferences.interpreter(bpy.context)
    found["state"] = preferences.describe(runtime.probe(found["interpreter"]))
    found["again"] = refused(bpy.ops.facepbr.set_up_runtime)
    assert bpy.ops.facepbr.remove_runtime() == {"FINISHED"}
    found["removed"] = not folder.exists()
    setup_running = managed.start(preferences.setup_plan(bpy.context))
    end = time.monotonic() + 120
    while setup_running.step == "environment" and time.monotonic() < end:
        time.sleep(0.02)
    found["cancelled at"] = setup_running.step
    began = time.monotonic()
    assert bpy.ops.facepbr.cancel_setup() == {"FINISHED"}
    setup_running.cancel(wait_s=10)
    found["cancel"] = [setup_running.error, folder.exists(), time.monotonic() - began]
    (folder / "mine").mkdir(parents=True)
    found["not ours"] = refused(bpy.ops.facepbr.remove_runtime)
    found["not empty"] = refused(bpy.ops.facepbr.set_up_runtime)
    return found


def check_words(given: dict) -> dict:
    """Every property has a name and a description; German is there and taken back with the add-on."""
    name = setup(given)
    classes = list(module(name, "operators")._CLASSES)
    classes += [module(name, "properties").FacePBRSettings]
    classes += [module(name, "preferences").FacePBRPreferences]
    bare = [cls.__name__ for cls in classes if not cls.__doc__]
    for cls in classes:  # not from the RNA: 3.4 drops descriptions under -b
        for key, item in cls.__annotations__.items():
            words = getattr(item, "keywords", None)  # None: a plain annotation
            if words is None or "HIDDEN" in words.get("options", ()):
                continue
            if not (words.get("name") and words.get("description")):
                bare.append(f"{cls.__name__}.{key}")
    view = bpy.context.preferences.view
    text = {}
    with contextlib.suppress(TypeError):  # a Blender built without languages
        view.language = "de_DE"
        view.use_translate_interface = True
        text["on"] = module(name, "translations").translated("Micro Detail")
        view.language = "en_US"
    return {"bare": bare, "text": text, "classes": len(classes)}


def check_render(given: dict) -> dict:
    """Small Cycles pictures through the photo's camera; the pixel at ``face`` (share of width, of height)."""
    setup(given)
    bpy.ops.facepbr.apply_result(directory=given["folder"])
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 4, "CPU"
    scene.cycles.use_denoising = False
    scene.render.resolution_percentage = 100 * given["size"] // scene.render.resolution_x
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    seen = {}
    for label, solo in (("shaded", "NONE"), ("albedo", "albedo")):
        scene.facepbr.solo = solo
        scene.render.filepath = str(Path(given["out"]) / f"{label}.png")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        width, height = image.size
        flat = [0.0] * (width * height * image.channels)
        image.pixels.foreach_get(flat)
        x, y = int(given["face"][0] * width), int((1 - given["face"][1]) * height)
        start = (y * width + x) * image.channels
        seen[label] = flat[start : start + 3]
        bpy.data.images.remove(image)
    return seen


def check_refusals(given: dict) -> dict:
    """Everything a user can do wrong, each with one clear line and nothing made."""
    name = setup(given)
    settings, before = bpy.context.scene.facepbr, counts()
    errors = {
        "no photo": refused(bpy.ops.facepbr.decompose),
        "photo gone": refused(bpy.ops.facepbr.decompose, filepath="/nowhere/a.jpg"),
        "no face": refused(bpy.ops.facepbr.decompose, filepath=given["wall"]),
        "broken result": refused(bpy.ops.facepbr.apply_result, directory=given["empty"]),
    }
    settings.storage = "BESIDE"
    errors["not saved"] = refused(bpy.ops.facepbr.decompose, filepath=given["wall"])
    blocked = Path(given["empty"]) / "blocked"
    blocked.mkdir()
    (blocked / "facepbr").write_text("a file where the folder would be")
    bpy.ops.wm.save_as_mainfile(filepath=str(blocked / "a.blend"))
    errors["unwritable"] = refused(bpy.ops.facepbr.apply_result, directory=given["folder"])
    settings.storage = "PACK"
    chosen = bpy.context.preferences.addons[name].preferences
    chosen.python = "/nowhere/python"
    errors["runtime gone"] = refused(bpy.ops.facepbr.decompose, filepath=given["wall"])
    chosen.python = given["bare_python"]
    errors["runtime bare"] = refused(bpy.ops.facepbr.decompose, filepath=given["wall"])
    errors["check bare"] = refused(bpy.ops.facepbr.check_runtime)
    chosen.python = given["python"]
    assert bpy.ops.facepbr.check_runtime() == {"FINISHED"}
    assert counts() == before
    return errors


def check_cancel(given: dict) -> dict:
    """A job taken away while the worker works: process gone, folder gone, nothing in the scene."""
    name = setup(given)
    jobs, before = module(name, "jobs"), counts()
    job = jobs.start(given["python"], given["photo"], {"size": 256, "weights": given["weights"]})
    worker = jobs.current.worker
    end = time.monotonic() + 120
    while job.stage == "starting" and time.monotonic() < end:
        worker.poll(job, wait_s=0.2)
    seen = job.stage
    began = time.monotonic()
    assert bpy.ops.facepbr.cancel() == {"FINISHED"}
    returned = time.monotonic() - began
    while (worker.alive or job.folder.exists()) and time.monotonic() < began + 30:
        time.sleep(0.01)
    gone = time.monotonic() - began
    job = jobs.start(given["python"], given["photo"], {"size": 256})
    second = jobs.current.worker
    bpy.ops.wm.read_homefile(use_empty=True)  # another file loads mid-job
    return {
        "stage": seen,
        "returned_s": returned,
        "gone_s": gone,
        "alive": [worker.alive, second.alive],
        "folder": job.folder.exists(),
        "current": [str(jobs.current.job), str(jobs.current.worker)],
        "made": counts() != before,
    }


def main() -> None:
    """CHECK and its JSON, after ``--`` where Blender itself has arguments."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    name, given = arguments[0], json.loads(arguments[1])
    with contextlib.redirect_stdout(sys.stderr):
        result = globals()[f"check_{name}"](given)
    if result is not None:  # a check with a window goes on by itself
        print("\nRESULT " + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
