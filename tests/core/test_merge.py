"""core/merge.py: half-seen, differently lit copies of a known texture become that texture again."""

import numpy as np

from core.merge import Merge, Plan, SmallCopy, plan_merge

SIZE = 512
FACE = np.zeros((256, 256), np.float32)
FACE[50:206, 60:196] = 1


def truth() -> np.ndarray:
    """(S, S, 3) skin-like, with detail at every scale."""
    rng = np.random.default_rng(0)
    out = np.full((SIZE, SIZE, 3), (0.72, 0.52, 0.44))
    for cells in (8, 32, 128):
        coarse = rng.normal(0, 0.05, (cells, cells, 1))
        out = out * (1 + np.kron(coarse, np.ones((SIZE // cells, SIZE // cells, 1))))
    return np.clip(out, 0, 1).astype(np.float32)


def photos() -> list[tuple[np.ndarray, np.ndarray]]:
    """(texture, visibility): left, middle and right, each with its gain and its side light; unseen parts grey."""
    u = np.linspace(0, 1, SIZE)[None, :, None]
    out = []
    for first, last, gain, slope in (
        (0.0, 0.6, 0.8, 0.5),
        (0.2, 0.8, 1.1, 0.0),
        (0.4, 1.0, 0.95, -0.4),
    ):
        ramp = np.clip(np.minimum(u - first, last - u) / 0.08, 0, 1)
        seen = np.broadcast_to(ramp[..., 0], (SIZE, SIZE)).astype(np.float32)
        lit = truth() * gain * (1 + slope * (u - 0.5))
        texture = np.where(seen[..., None] > 0.02, lit, 0.5)
        out.append((np.clip(texture, 0, 1).astype(np.float32), seen))
    return out


def merged(pictures: list[tuple[np.ndarray, np.ndarray]], weights: list[float]) -> tuple:
    one = np.ones((SIZE, SIZE), np.float32)
    copies = [SmallCopy.of(texture, seen, one, seen) for texture, seen in pictures]
    plan: Plan = plan_merge(copies, np.array(weights) > 0, FACE)
    merge = Merge(plan, SIZE)
    for index, (texture, _) in enumerate(pictures):
        if weights[index] > 0:
            merge.add(index, texture)
    return merge.texture(), plan


def departure(texture: np.ndarray) -> np.ndarray:
    """(rows, columns) log ratio to the truth over the face, its mean taken off."""
    inner = np.s_[110:400, 130:380]
    ratio = np.log(texture[inner] + 0.02).mean(-1) - np.log(truth()[inner] + 0.02).mean(-1)
    return ratio - ratio.mean()


def test_three_parts_become_one_without_a_seam() -> None:
    texture, plan = merged(photos(), [1, 1, 1])
    assert abs(plan.shares.sum() - 1) < 1e-5 and (plan.shares > 0.1).all()
    rest = departure(texture)
    assert np.abs(np.diff(rest.mean(0))).max() < 0.01, "a step between columns is a seam"
    assert rest.std() < 0.05
    # the side light of the single photos is larger than what is left of it
    assert np.abs(np.polyfit(np.linspace(0, 1, rest.shape[1]), rest.mean(0), 1)[0]) < 0.12


def test_detail_is_that_of_one_photo_not_of_a_mean() -> None:
    """Photos shifted by two texels against each other: a mean would blur, the merge must not."""
    pictures = [(np.roll(texture, 2 * k, 1), seen) for k, (texture, seen) in enumerate(photos())]
    texture, _ = merged(pictures, [1, 1, 1])
    fine = lambda image: np.abs(np.diff(image[110:400, 130:380].mean(-1), axis=1)).mean()  # noqa: E731
    assert fine(texture) > 0.9 * fine(truth())


def test_what_one_photo_alone_shows_wrongly_is_not_taken() -> None:
    """A dark bar, as a hand or a strand of hair, lies across the middle photo only."""
    pictures = photos()
    covered = pictures[1][0].copy()
    covered[200:240] *= 0.35
    pictures[1] = covered, pictures[1][1]
    texture, _ = merged(pictures, [1, 1, 1])
    assert np.abs(departure(texture)[90:130].mean()) < 0.05


def test_a_photo_without_weight_has_no_part() -> None:
    pictures = photos()
    clean, _ = merged(pictures[:2], [1, 1])
    stranger = (1 - pictures[2][0], np.ones((SIZE, SIZE), np.float32))
    texture, plan = merged([*pictures[:2], stranger], [1, 1, 0])
    assert plan.shares[2] == 0
    np.testing.assert_allclose(texture, clean, atol=2e-3)
