"""WebDataset in both directions: foreign tars as clips, and our stream as the source of a `wds.DataPipeline`.

A foreign tar has no index, so it is read from front to back: shards are dealt to ranks whole, their order is
shuffled and the clips in them are not, ranks may get different numbers of clips, and there is no exact resume.
`tools/inspect_shards.py index` gives such a tar an index, and with it everything that `stream` can do.

A sample is an image (jpg, jpeg, png) and, if it is labelled, `json` with points, visible and box or `npy` with
K x 2 points; other members, such as `cls`, are left alone. Keys that end in a number are frames of a video.
"""

import io
import logging
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import fsspec
import numpy as np
from numpy.typing import NDArray
from webdataset.tariterators import group_by_keys, tar_file_expander

from tsal_dist.address import refuse_secrets
from tsal_dist.data.crop import ViewSettings, crop_images, place_points
from tsal_dist.data.decode import decode_image
from tsal_dist.data.seeded_rng import shuffled
from tsal_dist.data.stream import MOST_BAD_IN_A_ROW, ClipStream
from tsal_dist.errors import ConfigError, DataError, TopologyError
from tsal_dist.geometry import affine
from tsal_dist.json_object import read_object
from tsal_dist.records import Clip, FrameRef
from tsal_dist.shards.names import frame_key

log = logging.getLogger(__name__)

IMAGES = ("jpg", "jpeg", "png")
_NUMBERED = re.compile(r"(?P<video>.*?)[-_./]?(?P<frame>\d{1,9})")


@dataclass(frozen=True)
class _Frame:
    video: str
    number: int
    index: int
    image: bytes
    points_K2: NDArray[np.float32] | None
    placed_K: NDArray[np.bool_]
    box_4: NDArray[np.float32]


class ForeignStream:
    """Clips of foreign tars, for ever, as an iterator; `bad` counts what could not be read, by key.

    `settings.points` says how many landmarks a face has; without it annotations are not looked at.
    """

    def __init__(
        self,
        urls: Sequence[str],
        settings: ViewSettings,
        *,
        rank: int,
        world: int,
        seed: int,
        clip_frames: int = 1,
        epochs: int | None = None,
    ) -> None:
        if not 0 <= rank < world or len(urls) < world:
            raise TopologyError(
                f"{len(urls)} tars cannot be dealt to rank {rank} of {world}: each rank needs one of its own. "
                "Use fewer ranks, or index the tars."
            )
        # webdataset's own opener runs commands for such a URL; a list of shards is data.
        if commands := [url for url in urls if url.startswith("pipe:")]:
            raise ConfigError(f"{commands[0]!r} is a command and not a tar. Name a path or URL.")
        for url in urls:
            refuse_secrets(url, "The list of tars")
        self.bad: dict[str, str] = {}
        self._bad_clips = 0
        settings.check(settings.points or 0)
        self._urls, self._settings, self._points = list(urls), settings, settings.points or 0
        self._rank, self._world, self._seed = rank, world, seed
        self._clip_frames, self._epochs = clip_frames, epochs

    def __iter__(self) -> Iterator[Clip]:
        epoch = 0
        while self._epochs is None or epoch < self._epochs:
            order = shuffled(len(self._urls), "foreign", self._seed, epoch)
            for shard in order[self._rank :: self._world]:
                yield from self._clips(int(shard), epoch)
            epoch += 1

    def _clips(self, shard: int, epoch: int) -> Iterator[Clip]:
        waiting: list[_Frame] = []
        for frame in self._frames(shard):
            if waiting and (frame.video != waiting[0].video or len(waiting) == self._clip_frames):
                yield from self._whole(waiting, shard, epoch)
                waiting = []
            waiting.append(frame)
        if waiting:
            yield from self._whole(waiting, shard, epoch)

    def _whole(self, frames: list[_Frame], shard: int, epoch: int) -> Iterator[Clip]:
        """The clip of these frames, or none where a picture in it is damaged."""
        try:
            clip = self._clip(frames, shard, epoch)
        except DataError as error:
            self._bad_clips += 1
            self.bad[frames[0].video] = str(error)
            log.warning("a clip of %s in %s is left out: %s", frames[0].video, self._urls[shard], error)
            if self._bad_clips == MOST_BAD_IN_A_ROW:
                raise DataError(
                    f"{self._urls[shard]}: {self._bad_clips} clips in a row cannot be used: {error}"
                ) from error
            return
        self._bad_clips = 0
        yield clip

    def _frames(self, shard: int) -> Iterator[_Frame]:
        in_a_row = 0
        url = self._urls[shard]
        with fsspec.open(url, "rb") as stream:
            for index, sample in enumerate(_samples(url, stream)):
                try:
                    yield self._frame(sample, index)
                    in_a_row = 0
                except (DataError, ValueError) as error:
                    in_a_row += 1
                    self.bad[sample["__key__"]] = str(error)
                    log.warning("sample %s of %s is left out: %s", sample["__key__"], url, error)
                    if in_a_row == MOST_BAD_IN_A_ROW:
                        raise DataError(
                            f"{url}: {in_a_row} samples in a row cannot be used: {error}"
                        ) from error

    def _frame(self, sample: dict[str, Any], index: int) -> _Frame:
        image = next((sample[name] for name in IMAGES if name in sample), None)
        if image is None:
            raise DataError(f"It has no image ({', '.join(IMAGES)}).")
        points_K2, placed_K, box_4 = _annotation(sample) if self._points else (None, None, None)
        if points_K2 is not None and points_K2.shape != (self._points, 2):
            raise DataError(f"Its points have the shape {points_K2.shape}, expected ({self._points}, 2).")
        if placed_K is None:
            placed_K = np.ones(self._points, np.bool_)
        if placed_K.shape != (self._points,):
            raise DataError(f"Its visibility has the shape {placed_K.shape}, expected ({self._points},).")
        if points_K2 is not None and not np.isfinite(points_K2[placed_K]).all():
            raise DataError("A landmark of it is not a finite number.")
        if box_4 is None and points_K2 is not None and placed_K.any():
            box_4 = np.concatenate([points_K2[placed_K].min(0), points_K2[placed_K].max(0)])
        elif box_4 is None:
            height, width = decode_image(image).shape[:2]
            box_4 = np.array([0, 0, width - 1, height - 1], np.float32)
        named = _NUMBERED.fullmatch(sample["__key__"])
        return _Frame(
            video=named["video"] if named else sample["__key__"],
            number=int(named["frame"]) if named else 0,
            index=index,
            image=image,
            points_K2=points_K2,
            placed_K=placed_K,
            box_4=box_4,
        )

    def _clip(self, frames: list[_Frame], shard: int, epoch: int) -> Clip:
        size_px, labels = self._settings.crop_px, self._settings.labels
        frames = frames + [frames[-1]] * (self._clip_frames - len(frames))
        first = frames[0]
        view = self._settings.view((self._seed, epoch, shard, crc32(first.video.encode()), first.number))
        box_4 = np.stack([frame.box_4 for frame in frames]).mean(0)
        to_crop_23 = view.to_crop(box_4, size_px, self._settings.expand)
        labelled_T = np.array([labels and frame.points_K2 is not None for frame in frames])
        mirror_K = self._settings.mirror_of(self._points) if view.flip else ()
        none_K2 = np.zeros((self._points, 2), np.float32)
        points_TK2, visible_TK = place_points(
            np.stack([none_K2 if frame.points_K2 is None else frame.points_K2 for frame in frames]),
            np.stack([frame.placed_K for frame in frames]) & labelled_T[:, None],
            to_crop_23,
            size_px,
            mirror_K,
        )
        side_px = float(np.sqrt(np.prod(box_4[2:] - box_4[:2])))
        return Clip(
            image_THWC=crop_images([frame.image for frame in frames], view, to_crop_23, size_px),
            points_TK2=points_TK2,
            visible_TK=visible_TK,
            labelled_T=labelled_T,
            to_crop_23=to_crop_23,
            box_4=np.asarray(box_4, np.float32),
            face_px=side_px * affine.magnification(to_crop_23),
            video=first.video,
            frames_T=np.array([frame.number for frame in frames], np.int32),
            ref=FrameRef(shard, first.index),
            stride=1,
            sample_id=-1,
            pad=False,
            mirror_K=mirror_K,
        )


def as_webdataset(stream: ClipStream) -> Callable[[], Iterator[dict[str, Any]]]:
    """The first stage of a `wds.DataPipeline`: one decoded sample per clip, with the usual names.

    The stream already has rank, workers and position: add no `split_by_node`, and give a DataLoader around it
    num_workers=0. Pads are left out.
    """

    def samples() -> Iterator[dict[str, Any]]:
        for clips in stream:
            for clip in clips:
                if not clip.pad:
                    yield {
                        "__key__": frame_key(clip.video, int(clip.frames_T[0])),
                        "jpg": clip.image_THWC if len(clip.image_THWC) > 1 else clip.image_THWC[0],
                        "json": {
                            "points": clip.points_TK2,
                            "visible": clip.visible_TK,
                            "labelled": clip.labelled_T,
                            "box": clip.box_4,
                            "frames": clip.frames_T,
                        },
                    }

    return samples


def _samples(url: str, stream: Any) -> Iterator[dict[str, Any]]:
    """The tar's members by key, as webdataset groups them."""
    try:
        yield from group_by_keys(tar_file_expander([{"url": url, "stream": stream}]))
    except (tarfile.TarError, ValueError, OSError, EOFError) as error:
        raise DataError(f"{url} cannot be read as a tar: {error}.") from error


def _annotation(
    sample: dict[str, Any],
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None, NDArray[np.float32] | None]:
    """Points, which of them are placed, and the box: each None where the sample does not say."""
    if "npy" in sample:
        return np.load(io.BytesIO(sample["npy"]), allow_pickle=False).astype(np.float32), None, None
    page = read_object(sample["json"]) if "json" in sample else {}
    points, visible, box = page.get("points"), page.get("visible"), page.get("box")
    try:
        points_K3 = np.atleast_2d(np.asarray(points or (), np.float32))
        placed_K, box_4 = np.asarray(visible or ()) > 0, np.asarray(box or (), np.float32)
    except TypeError as error:
        raise DataError(f"Its json holds something else than numbers: {error}.") from None
    if box and not (box_4.shape == (4,) and np.isfinite(box_4).all() and (box_4[2:] > box_4[:2]).all()):
        raise DataError(f"Its box {box!r} is not x1 y1 x2 y2 with an area.")
    return points_K3[:, :2] if points else None, placed_K if visible else None, box_4 if box else None
