"""A labelled animal as its labelling program leaves it: a table of points, pictures, and videos without labels.

    CollectedData.csv   three header rows (scorer, bodyparts, coords), then a picture and x, y of every part;
                        empty cells are parts that are not in view
    labeled-data/       the pictures
    videos/             .mp4

One animal per picture, the whole picture is its box. Pictures are dealt into folds by chance. The last fifth of the
videos' frames is held out, to measure jitter on what no method has trained on.
"""

import csv
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.accuracy.data_set import DataSet, Fold
from tsal_dist.errors import ConfigError

FOLDS = 5
HELD_OUT_OF_VIDEO = 0.2
TABLE, HEADER_ROWS = "CollectedData.csv", 3


@dataclass(frozen=True)
class Labels:
    """The table's content: a picture and its cells, x and y in turns, "" where a part is not in view."""

    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def read_labels(table: Path) -> Labels:
    """The three-row header and the rows below it."""
    if not table.is_file():
        raise ConfigError(
            f"There is no {table}. Name the folder that holds {TABLE}, labeled-data/ and videos/."
        )
    with open(table, newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    if len(lines) <= HEADER_ROWS or [line[0] for line in lines[:HEADER_ROWS]] != [
        "scorer",
        "bodyparts",
        "coords",
    ]:
        raise ConfigError(
            f"{table} does not begin with the rows scorer, bodyparts and coords, and pictures below."
        )
    parts = (len(lines[2]) - 1) // 2
    if lines[2][1:] != ["x", "y"] * parts or any(len(line) != len(lines[2]) for line in lines):
        raise ConfigError(
            f"{table} has rows of different lengths, or columns other than x and y of every part."
        )
    return Labels(tuple(lines[1][1::2]), tuple((line[0], tuple(line[1:])) for line in lines[HEADER_ROWS:]))


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
    from tools.bench.accuracy.packing import pack_list
    from tsal_dist.pack.packing_plan import PackOptions

    labels = read_labels(source / TABLE)
    heaps = deal(len(labels.rows))
    smallest = len(labels.rows) - max(len(heap) for heap in heaps)
    names = tuple(str(amount) for amount in sorted({min(amount, smallest) for amount in amounts}))
    frames, held_out = _list_videos(source / "videos", folder)

    def pack(name: str, split: str, places: Iterable[int]) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        listed = folder / f"{name}.csv"
        write_points(listed, labels, places)
        return pack_list(listed, folder / name, PackOptions(split, box="full"), root=source)

    folds = []
    for number, heap in enumerate(heaps):
        rest = [place for place in range(len(labels.rows)) if place not in heap]
        labelled = {
            name: pack(f"fold-{number}-{name}", "train", draw(rest, int(name), number)) for name in names
        }
        folds.append(Fold(labelled, frames, pack(f"fold-{number}-test", "test", heap)))
    return DataSet(
        source.resolve().name,
        names,
        tuple(folds),
        steps=steps,
        repeats=repeats,
        settings=settings_for(len(labels.parts), steps),
        video=held_out,
        about=f"{FOLDS} folds of {len(labels.rows)} pictures; errors in % of the picture's size; jitter on frames of "
        "the video that nothing was trained on",
    )


def settings_for(parts: int, steps: int) -> tuple[str, ...]:
    """The whole picture is looked at, parts have no mirrored partners, and an error is a share of the picture."""
    return (
        "model.detector=lite0",
        f"model.num_points={parts}",
        "model.crop_px=160",
        "data.normalizer=face_size",
        "data.box_expand=0.0",
        "data.hard.flip_prob=0.0",
        f"train.burn_in_steps={math.ceil(0.3 * steps)}",
    )


def write_points(path: Path, labels: Labels, places: Iterable[int]) -> None:
    """A list that `shard_videos` reads."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        head = [f"p{part}{axis}" for part in range(len(labels.parts)) for axis in ("x", "y", "v")]
        writer.writerow(["path", *head])
        for place in places:
            picture, cells = labels.rows[place]
            row: list[str] = [picture]
            for x, y in zip(cells[::2], cells[1::2], strict=True):
                row += [x, y, "1"] if x and y else ["0", "0", "0"]
            writer.writerow(row)


def _list_videos(videos: Path, folder: Path) -> tuple[str, str]:
    """Shards of the videos' frames: those to learn from, and the last ones."""
    import cv2

    from tools.bench.accuracy.packing import pack_list
    from tsal_dist.pack.packing_plan import PackOptions

    files = sorted(videos.glob("*.mp4"))
    if not files:
        raise ConfigError(f"{videos} holds no .mp4: without unlabelled video there is nothing to compare.")
    heads: list[list[str]] = []
    tails: list[list[str]] = []
    for file in files:
        capture = cv2.VideoCapture(str(file))
        count, width, height = (
            int(capture.get(what))
            for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        capture.release()
        cut = math.ceil((1 - HELD_OUT_OF_VIDEO) * count)
        rows = [
            [str(file), str(frame + 1), "0", "0", str(width - 1), str(height - 1)] for frame in range(count)
        ]
        heads, tails = heads + rows[:cut], tails + rows[cut:]
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for name, rows in (("video", heads), ("video-held-out", tails)):
        with open(folder / f"{name}.csv", "w", newline="") as listed:
            csv.writer(listed).writerows([["path", "frame", "x1", "y1", "x2", "y2"], *rows])
        options = PackOptions("frames", box="full")
        places.append(pack_list(folder / f"{name}.csv", folder / name, options, root=videos))
    return places[0], places[1]
