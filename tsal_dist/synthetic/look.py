"""What a person looks like beyond their shape: colours, hair, beard, glasses, clothes.

Colours are blue, green, red in 0..255, as OpenCV keeps them.
"""

from dataclasses import dataclass

import numpy as np

from tsal_dist.synthetic.shape import Array

# from very fair to very dark, each with the lips that belong to it
_SKINS = np.array(
    [[196, 214, 240], [168, 190, 228], [140, 170, 214], [108, 144, 196], [82, 116, 168], [58, 84, 130], [42, 58, 96]],
    float,
)  # fmt: skip
_LIPS = np.array(
    [[132, 128, 208], [118, 116, 200], [104, 104, 186], [88, 88, 168], [74, 74, 146], [62, 62, 118], [52, 50, 94]],
    float,
)  # fmt: skip
_HAIRS = np.array(
    [[24, 24, 28], [30, 38, 52], [38, 56, 84], [50, 84, 124], [96, 148, 186], [40, 70, 140], [150, 152, 156], [206, 208, 210]],
    float,
)  # fmt: skip
_HAIR_CHANCE = (0.24, 0.2, 0.18, 0.12, 0.09, 0.06, 0.07, 0.04)
_IRISES = np.array(
    [[30, 48, 82], [24, 34, 56], [150, 120, 80], [100, 130, 96], [120, 130, 140]], float
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """One person in one clip."""

    skin: Array
    lips: Array
    hair: Array
    iris: Array
    cloth: Array
    hair_style: str
    """bald, short, long or cap: what covers the skull."""
    hairline: float
    """Height of the hairline over the eyes, in head units."""
    fringe: float
    """How far hair hangs into the forehead."""
    parting: float
    volume: float
    """Thickness of the hair over the skull."""
    brow_weight: float
    beard: float
    """0 is shaved, 1 is dense."""
    moustache: float
    freckles: float
    wrinkles: float
    makeup: float
    glasses: str
    """none, round, square or dark."""
    frame_color: Array


def draw_look(rng: np.random.Generator) -> Look:
    """Draw one person's looks."""
    tone = rng.uniform(0.0, len(_SKINS) - 1.001)
    i, f = int(tone), tone % 1.0
    skin = _SKINS[i] * (1 - f) + _SKINS[i + 1] * f
    lips = (_LIPS[i] * (1 - f) + _LIPS[i + 1] * f) * rng.uniform(0.85, 1.1)
    makeup = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.3 else 0.0
    lips = lips * (1 - 0.6 * makeup) + 0.6 * makeup * rng.uniform((40, 20, 120), (120, 70, 210))
    hair = _HAIRS[rng.choice(len(_HAIRS), p=_HAIR_CHANCE)] * rng.uniform(0.8, 1.2)
    bearded = makeup == 0.0 and rng.random() < 0.4
    return Look(
        skin=np.clip(skin * rng.uniform(0.94, 1.05, 3), 20, 250),
        lips=np.clip(lips, 10, 240),
        hair=np.clip(hair, 8, 235),
        iris=_IRISES[rng.integers(len(_IRISES))] * rng.uniform(0.8, 1.2),
        cloth=rng.uniform(15, 235, 3),
        hair_style=str(rng.choice(["bald", "short", "long", "cap"], p=[0.10, 0.45, 0.35, 0.10])),
        hairline=float(rng.uniform(0.62, 0.88)),
        fringe=float(rng.uniform(0.1, 0.42)) if rng.random() < 0.35 else 0.0,
        parting=float(rng.uniform(-0.6, 0.6)),
        volume=float(rng.uniform(0.04, 0.16)),
        brow_weight=float(rng.uniform(0.6, 1.35)),
        beard=float(rng.uniform(0.15, 1.0)) if bearded else 0.0,
        moustache=float(rng.uniform(0.2, 1.0)) if bearded and rng.random() < 0.7 else 0.0,
        freckles=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.2 else 0.0,
        wrinkles=float(rng.beta(1.2, 2.5)),
        makeup=makeup,
        glasses=str(rng.choice(["none", "round", "square", "dark"], p=[0.68, 0.12, 0.13, 0.07])),
        frame_color=rng.uniform(5, 120, 3) if rng.random() < 0.8 else rng.uniform(90, 220, 3),
    )
