"""Public data sets, recognised by their folders, with the counts that their splits are known to have.

    300W     afw/ helen/{trainset,testset}/ lfpw/{trainset,testset}/ ibug/, a .pts beside every image
    300VW    <three digits>/vid.avi and <three digits>/annot/%06d.pts
    AFLW     lists named aflw*train* and aflw*test*, in the TSAL list format, in the folder that holds the images

A count that does not fit means a download that is not whole, or another edition; both change every published
number, so it is refused unless the caller says that a part is meant.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import Entry, Face
from tsal_dist.pack.inputs import Input, inputs_from_entries, inputs_from_videos
from tsal_dist.pack.lists import read_list
from tsal_dist.pack.points import load_pts

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")

W300_TRAIN = ("afw", "helen/trainset", "lfpw/trainset")
W300_COMMON = ("helen/testset", "lfpw/testset")
W300_CHALLENGE = ("ibug",)

VW300_TRAIN = (
    "009 059 002 033 020 035 018 119 120 025 205 047 007 013 004 143 034 028 053 225 041 010 031 046 049 "
    "011 027 003 016 160 113 001 029 043 112 138 144 204 057 015 044 048 017 115 223 037 123 019 039 022"
).split()
VW300_TEST_1 = (
    "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 "
    "538 540 541 546 547 548"
).split()
VW300_TEST_2 = "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553".split()
VW300_TEST_3 = "410 411 516 517 526 528 529 530 531 533 557 558 559 562".split()


@dataclass(frozen=True)
class Part:
    """One split of a public data set."""

    count: int
    unit: str
    read: Callable[[Path], list[Input]]


def _read_300w(folders: Sequence[str]) -> Callable[[Path], list[Input]]:
    def read(root: Path) -> list[Input]:
        return inputs_from_entries(entry for folder in folders for entry in _image_entries(root / folder))

    return read


def _image_entries(folder: Path) -> Iterable[Entry]:
    """Every image with a .pts of its name; images without one (mirrored copies, thumbnails) are not the set's."""
    for image in sorted(folder.rglob("*")):
        pts = image.with_suffix(".pts")
        if image.suffix.lower() in _IMAGES and pts.is_file():
            try:
                yield Entry(str(image), None, load_pts(pts))
            except DataError as error:
                yield Entry(str(image), None, Face(), str(error))


def _read_300vw(ids: Sequence[str]) -> Callable[[Path], list[Input]]:
    def read(root: Path) -> list[Input]:
        videos = [root / name / "vid.avi" for name in sorted(ids)]
        found = [video for video in videos if video.is_file()]
        return inputs_from_videos(found) if found else []

    return read


def _read_aflw(split: str) -> Callable[[Path], list[Input]]:
    def read(root: Path) -> list[Input]:
        lists = [path for path in _aflw_lists(root) if split in path.name.lower()]
        return inputs_from_entries(read_list(lists[0], root)) if lists else []

    return read


def _aflw_lists(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if path.is_file() and path.name.lower().startswith("aflw"))


LAYOUTS: dict[str, dict[str, Part]] = {
    "300W": {
        "train": Part(3148, "images", _read_300w(W300_TRAIN)),
        "common": Part(554, "images", _read_300w(W300_COMMON)),
        "challenge": Part(135, "images", _read_300w(W300_CHALLENGE)),
        "full": Part(689, "images", _read_300w((*W300_COMMON, *W300_CHALLENGE))),
    },
    "300VW": {
        "train": Part(50, "videos", _read_300vw(VW300_TRAIN)),
        "test-1": Part(31, "videos", _read_300vw(VW300_TEST_1)),
        "test-2": Part(19, "videos", _read_300vw(VW300_TEST_2)),
        "test-3": Part(14, "videos", _read_300vw(VW300_TEST_3)),
    },
    "AFLW": {
        "train": Part(20000, "faces", _read_aflw("train")),
        "test": Part(4386, "faces", _read_aflw("test")),
    },
}


def recognise(root: Path) -> str | None:
    """The name of the public layout in `root`."""
    if all((root / name).is_dir() for name in ("afw", "helen", "lfpw", "ibug")):
        return "300W"
    if any((root / name / "vid.avi").is_file() for name in (*VW300_TRAIN, *VW300_TEST_1)):
        return "300VW"
    return "AFLW" if _aflw_lists(root) else None


def read_layout(root: Path, part: str, any_count: bool = False) -> list[Input]:
    """The inputs of one split, after its count was checked."""
    name = recognise(root)
    if name is None:
        raise ConfigError(
            f"{root} is none of {', '.join(LAYOUTS)}. Name your own data with --videos or --lists."
        )
    parts = LAYOUTS[name]
    if part not in parts:
        raise ConfigError(f"{name} has no part {part!r}. Choose --part from {', '.join(parts)}.")
    inputs = parts[part].read(root)
    faces = name == "AFLW"
    found = sum(len(one.labels) for one in inputs) if faces else len(inputs)
    if not inputs or (found != parts[part].count and not any_count):
        raise ConfigError(
            f"{name} {part} in {root} has {found} {parts[part].unit} and not {parts[part].count}. Complete the "
            "download, or say --any-count if a part of it is meant."
        )
    return inputs
