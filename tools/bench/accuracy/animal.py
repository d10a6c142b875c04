"""A labelled animal as its labelling program leaves it: a table of points, pictures, and videos without labels.

    CollectedData.csv   DeepLabCut's and Lightning Pose's table: a picture to a line
    labeled-data/       the pictures
    videos/             .mp4

One animal per picture, the whole picture is its box. Pictures are dealt into folds by chance. The last fifth of the
videos' frames is held out, to measure jitter on what no method has trained on.
"""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bench.accuracy.data_set import DataSet, Fold
from tsal_dist.errors import ConfigError

if TYPE_CHECKING:
    from tsal_dist.pack.face import Entry

FOLDS = 5
HELD_OUT_OF_VIDEO = 0.2
TABLE = "CollectedData.csv"
SETTINGS = ("model.detector=lite0", "model.crop_px=160", "data.normalizer=face_size", "data.box_expand=0.0")
"""The whole picture is looked at, and an error is a share of it. The rest follows from the shards."""


def deal(count: int, folds: int = FOLDS) -> list[list[int]]:
    """Numbers 0 to count - 1 in `folds` heaps of nearly equal size, by chance, always the same."""
    order = list(range(count))
    random.Random(0).shuffle(order)
    return [sorted(order[start::folds]) for start in range(folds)]


def draw(places: Sequence[int], amount: int, fold: int) -> list[int]:
    """`amount` of the places by chance: fewer are always part of more."""
    order = list(places)
    random.Random(1 + fold).shuffle(order)
    return sorted(order[:amount])


def make_animal(source: Path, folder: Path, amounts: Sequence[int], steps: int, repeats: int) -> DataSet:
    """Pack every fold at every amount, once. An amount beyond what a fold has takes all of it."""
    from tools.bench.accuracy.packing import pack_entries
    from tsal_dist.pack.packing_plan import PackOptions

    labelled = read_labelled(source)
    heaps = deal(len(labelled))
    smallest = len(labelled) - max(len(heap) for heap in heaps)
    names = tuple(str(amount) for amount in sorted({min(amount, smallest) for amount in amounts}))
    learnt, held_out = split_videos(source / "videos")

    def pack(name: str, split: str, entries: "Iterable[Entry]") -> str:
        return pack_entries(entries, folder / name, PackOptions(split, box="full"), source)

    unlabelled, video = pack("video", "frames", learnt), pack("video-held-out", "frames", held_out)
    folds = []
    for number, heap in enumerate(heaps):
        rest = [place for place in range(len(labelled)) if place not in heap]
        shards = {
            name: pack(
                f"fold-{number}-{name}",
                "train",
                [labelled[place] for place in draw(rest, int(name), number)],
            )
            for name in names
        }
        test = pack(f"fold-{number}-test", "test", [labelled[place] for place in heap])
        folds.append(Fold(shards, unlabelled, test))
    return DataSet(
        source.resolve().name,
        names,
        tuple(folds),
        steps=steps,
        repeats=repeats,
        settings=SETTINGS,
        video=video,
        about=f"{FOLDS} folds of {len(labelled)} pictures; errors in % of the picture's size; jitter is the "
        "median over frames of the video that nothing was trained on",
    )


def read_labelled(source: Path) -> "list[Entry]":
    """The table's pictures that have a landmark."""
    from tsal_dist.pack.formats.deeplabcut import read_deeplabcut

    table = source / TABLE
    if not table.is_file():
        raise ConfigError(
            f"There is no {table}. Name the folder that holds {TABLE}, labeled-data/ and videos/."
        )
    labelled = [entry for entry in read_deeplabcut(table, source) if entry.face.points_K2 is not None]
    if len(labelled) < 2 * FOLDS:
        raise ConfigError(f"{table} has {len(labelled)} labelled pictures; {FOLDS} folds need {2 * FOLDS}.")
    return labelled


def split_videos(videos: Path) -> "tuple[list[Entry], list[Entry]]":
    """The videos' frames to learn from, and the last ones of each."""
    import cv2

    from tsal_dist.pack.face import Entry, Face

    files = sorted(videos.glob("*.mp4"))
    if not files:
        raise ConfigError(f"{videos} holds no .mp4: without unlabelled video there is nothing to compare.")
    learnt: list[Entry] = []
    held_out: list[Entry] = []
    for file in files:
        capture = cv2.VideoCapture(str(file))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        cut = math.ceil((1 - HELD_OUT_OF_VIDEO) * count)
        frames = [Entry(str(file), frame, Face()) for frame in range(count)]
        learnt, held_out = learnt + frames[:cut], held_out + frames[cut:]
    return learnt, held_out
