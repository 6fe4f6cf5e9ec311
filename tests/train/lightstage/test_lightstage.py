"""The virtual light stage against its slow twins, published numbers and its own promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.color import linear_to_srgb
from train.lightstage import camera, chromophores, lights, shade, texture, visibility
from train.lightstage.bank import POSITION_SIZE, Bank, build_bank
from train.lightstage.config import PLAIN, LightStageConfig
from train.lightstage.detail import height_slopes, slopes_to_normal
from train.lightstage.generate import TRUTH_KEYS, LightStage
from train.lightstage.texture import Dice

torch.set_num_threads(1)

# fm, fb -> sRGB, ITA: the light stage's colour model as published with the project's data.
SKIN_TABLE = [
    (0.02, 0.01, (202, 179, 164), 67),
    (0.04, 0.03, (180, 145, 133), 49),
    (0.07, 0.01, (167, 133, 111), 26),
    (0.11, 0.01, (143, 108, 90), -5),
    (0.17, 0.01, (114, 84, 73), -45),
    (0.25, 0.01, (87, 67, 62), -72),
]


@pytest.fixture(scope="module")
def bank_path(shared_data, tmp_path_factory):
    pytest.importorskip("core.head_model")
    from train.lightstage.bank import model_heads

    maps, inside, landmarks = model_heads(3, seed=5)
    folder = tmp_path_factory.mktemp("bank")
    return build_bank(shared_data, folder, maps, inside, landmarks, portraits=("005", "041", "056"))


@pytest.fixture(scope="module")
def stage(bank_path):
    return LightStage(bank_path, size=128, seed=3)


def test_skin_model_gives_the_published_colours(shared_data):
    spectra = chromophores.read_haemoglobin(shared_data / "skin" / "chromophores_400_720.csv")
    nm, oxy, deoxy = spectra
    for fm, fb, expected, ita in SKIN_TABLE:
        r = chromophores.skin_reflectance(np.array([fm]), np.array([fb]), nm, oxy, deoxy, 0.75)
        linear = chromophores.to_linear_srgb(r, nm)
        assert np.abs(linear_to_srgb(linear) * 255 - expected).max() < 2.0
        lab = np.array(chromophores.linear_srgb_to_lab(linear))
        assert abs(np.degrees(np.arctan2(lab[0] - 50, lab[2])) - ita) < 3


def test_white_reflectance_is_white():
    nm = np.arange(400.0, 721.0, 2.0)
    assert np.allclose(chromophores.to_linear_srgb(np.ones_like(nm), nm), 1.0, atol=2e-3)


def test_skin_table_lookup_matches_model_and_inverts_ita(shared_data):
    csv = shared_data / "skin" / "chromophores_400_720.csv"
    table = chromophores.SkinTable(torch.from_numpy(chromophores.build_table(csv)))
    nm, oxy, deoxy = chromophores.read_haemoglobin(csv)
    for fm, fb, _, ita in SKIN_TABLE:
        direct = chromophores.to_linear_srgb(
            chromophores.skin_reflectance(np.array([fm]), np.array([fb]), nm, oxy, deoxy, 0.75), nm
        )
        point = [torch.full((1, 1), float(np.log(v))) for v in (fm, fb)]
        assert np.allclose(table.color(*point).flatten().numpy(), direct, atol=3e-3)
        assert abs(np.exp(table.log_fm_for_ita(ita, np.log(fb))) - fm) < 0.1 * fm


def test_daylight_is_neutral_under_kelvin_scale():
    r, g, b = lights.kelvin_to_rgb(6504)
    assert max(r, g, b) / min(r, g, b) < 1.08
    warm, cold = lights.kelvin_to_rgb(2500), lights.kelvin_to_rgb(9000)
    assert warm[0] > 2 * warm[2] and cold[2] > cold[0]


def test_sphere_of_texels_is_open_and_its_normals_point_out():
    s = 64
    theta = torch.linspace(0.4, 2.7, s)[:, None]
    phi = torch.linspace(-1.4, 1.4, s)[None]
    p = 0.1 * torch.stack([theta.sin() * phi.sin(), theta.cos() + 0 * phi, theta.sin() * phi.cos()])
    tangent, bitangent, normal, steps = visibility.tangent_frame(p)
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert torch.allclose(normal[inner], (p / 0.1)[inner], atol=3e-3)
    assert (tangent[0][2:-2, 24:40] > 0.8).all() and (bitangent[1][24:40, 24:40] > 0.8).all()
    assert abs(float(steps[1, 32, 32]) - 0.1 * 2.3 / (s - 1)) < 1e-5


def test_cast_shadow_of_a_ball_above_a_plate_falls_where_it_should():
    s = 256
    y, x = torch.meshgrid(torch.linspace(0.1, -0.1, s), torch.linspace(-0.1, 0.1, s), indexing="ij")
    bump = 0.03 * torch.exp(-((x + 0.03) ** 2 + y**2) / 0.01**2)
    p = torch.stack([x, y, bump])
    normal = visibility.tangent_frame(p)[2]
    to_light = torch.nn.functional.normalize(torch.tensor([-1.0, 0.0, 0.8]), dim=0)
    lit = visibility.cast_shadow(p, normal, torch.ones(s, s, dtype=torch.bool), to_light)
    behind = int((-0.005 + 0.1) / 0.2 * s)
    assert lit[s // 2, behind] < 0.2
    assert lit[s // 2, 20] > 0.95 and lit[30, behind] > 0.95 and lit[s // 2, -20] > 0.95


def test_ambient_occlusion_and_irradiance_match_their_slow_twins():
    generator = torch.Generator().manual_seed(0)
    directions = torch.from_numpy(visibility.fibonacci_directions(40))
    normal = torch.nn.functional.normalize(torch.randn(6, 3, generator=generator), dim=1)
    visible = (torch.rand(6, 40, generator=generator) > 0.3) * (normal @ directions.T > 0).float()
    radiance = torch.rand(40, 3, generator=generator)
    fast = visibility.ambient_occlusion(visible, normal, directions)
    slow = visibility._ambient_occlusion_reference(visible, normal, directions)
    assert torch.allclose(fast, slow, atol=1e-5)
    vectors = shade.gather_vectors(visible, directions, radiance)
    ours = torch.einsum("nck,nk->nc", vectors, normal)
    assert torch.allclose(
        ours, shade._irradiance_reference(visible, normal, directions, radiance), atol=1e-5
    )


def test_white_sky_gives_ambient_occlusion(bank_path):
    bank = Bank(bank_path)
    head = bank.head(0)
    flat = torch.zeros(3, 128, 128)
    flat[2] = 1
    white = torch.ones(bank.directions.shape[0], 3)
    lit = shade.soft_light(head, bank.directions, white, flat)
    error = (lit - head.openness).abs()[:, 20:90, 30:98]
    assert float(error.mean()) < 0.02


def test_sky_keeps_its_light_when_turned_and_gathered():
    sky = torch.rand(3, 32, 64) + 0.1
    directions = torch.from_numpy(visibility.fibonacci_directions(320))
    radiance, peaks = lights.gather_sky(sky, lights.turn(Dice(1), 10, sky.device), directions)
    where, omega = lights.equirect_directions(32, 64, sky.device)
    total = (sky.flatten(1) * omega).sum(1)
    assert not peaks
    assert torch.allclose(radiance.sum(0) * (4 * np.pi / 320), total, rtol=1e-3)


def test_normals_follow_a_slope_with_green_up():
    height = torch.arange(8.0).flip(0)[:, None].expand(8, 8)  # rises to the top, along +v
    du, dv = height_slopes(height, torch.ones(2, 8, 8))
    normal = slopes_to_normal(du, dv)
    assert torch.allclose(dv[2:-2, 2:-2], torch.ones(4, 4))
    assert (normal[1, 2:-2, 2:-2] < -0.5).all() and (normal[0].abs() < 1e-6).all()


def test_stroke_mass_does_not_depend_on_resolution():
    one = {"root": torch.tensor([[500.0, 500.0]]), "angle": torch.tensor([0.3])}
    more = {
        "length": torch.tensor([80.0]),
        "bend": torch.tensor([0.5]),
        "width": torch.tensor([2.0]),
    }
    mass = [texture.strokes(**one, **more, size=s).sum() * (1024 / s) ** 2 for s in (256, 1024)]
    assert abs(mass[0] / mass[1] - 1) < 0.03


def test_jpeg_of_quality_100_is_nearly_lossless_and_40_is_not():
    x, y = texture.layout_grid(64, torch.device("cpu"))
    image = torch.stack([x / 1024, y / 1024, 0.5 + 0.2 * torch.sin(x / 90)])
    assert (camera.compress(image, 98) - image).abs().max() < 0.03
    rough = (camera.compress(image, 40) - image).abs().mean()
    assert rough > (camera.compress(image, 95) - image).abs().mean()


def test_batch_keeps_the_contract(stage):
    batch = stage.sample(2)
    channels = {"input": 3, "albedo": 3, "normal": 3, "raw_diffuse": 3, "ambient_occlusion": 1,
                "specular": 1, "translucency": 1, "mask": 1}  # fmt: skip
    for key, count in channels.items():
        value = batch[key]
        assert value.shape == (2, count, 128, 128), key
        assert torch.isfinite(value).all() and value.min() >= 0 and value.max() <= 1, key
    length = (batch["normal"] * 2 - 1).norm(dim=1)
    assert torch.allclose(length, torch.ones_like(length), atol=1e-4)
    assert batch["ita_deg"].shape == (2,) and 0.1 < batch["mask"].mean() < 0.6


def test_same_seed_same_faces_and_splits_differ(bank_path):
    a, b = (LightStage(bank_path, 128, seed=9).sample(1) for _ in range(2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    val = LightStage(bank_path, 128, seed=9, split="val")
    train = LightStage(bank_path, 128, seed=9)
    for part in ("heads", "skies", "portraits", "mottles"):
        held, known = getattr(val.bank, part), getattr(train.bank, part)
        assert held and known and not set(held) & set(known), part
    assert not torch.equal(val.sample(1)["albedo"], a["albedo"])


def test_pairs_share_the_face_and_differ_in_light(stage):
    batch = stage.sample_pairs(1, lights=2)
    assert all(torch.equal(batch[k][0], batch[k][1]) for k in TRUTH_KEYS)
    assert (batch["input"][0] - batch["input"][1]).abs().mean() > 0.01


def test_plain_stage_shows_albedo_up_to_soft_shading(bank_path):
    stage = LightStage(bank_path, 128, seed=4, config=replace(PLAIN, specular=False))
    batch = stage.sample(2)
    mask = batch["mask"] > 0.9
    ratio = torch.log((batch["input"] + 0.02) / (batch["albedo"] + 0.02))
    for i in range(2):
        a = batch["input"][i].mean(0)[mask[i, 0]]
        b = batch["albedo"][i].mean(0)[mask[i, 0]]
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.3
    assert ratio.abs().mean() < 0.9


def test_skin_tone_is_spread_and_survives_into_raw_diffuse(bank_path):
    config = LightStageConfig(wrinkles=0.0)
    stage = LightStage(bank_path, 128, seed=2, config=config)
    batch = stage.sample(10)
    assert batch["ita_deg"].max() - batch["ita_deg"].min() > 50
    level = lambda k: (batch[k] * batch["mask"]).sum((1, 2, 3))  # noqa: E731
    order = torch.corrcoef(torch.stack([level("albedo"), level("raw_diffuse")]))[0, 1]
    assert order > 0.95


def test_wrong_use_is_refused(bank_path, tmp_path):
    with pytest.raises(ValueError, match="split"):
        LightStage(bank_path, 128, split="holdout")
    with pytest.raises(ValueError, match="size"):
        LightStage(bank_path, 100)
    with pytest.raises(FileNotFoundError, match="train.lightstage.bank"):
        Bank(tmp_path)
    with pytest.raises(ValueError, match="freckles"):
        LightStageConfig(freckles=1.5)


def test_bank_stays_small_enough_to_carry(bank_path):
    per_head = POSITION_SIZE**2 * 6 + 128 * 128 * 41
    assert bank_path.stat().st_size < 20e6 + 3 * per_head
