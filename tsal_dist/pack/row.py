"""One decoded frame becomes a row of the frame table, a JPEG and a JSON member."""

import json
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.pack.boxes import Detector, choose_box, full_box
from tsal_dist.pack.decode import Decoded, Image
from tsal_dist.pack.face import LEAST_PX, Box, Face, tight_box
from tsal_dist.pack.inputs import Label
from tsal_dist.pack.packing_plan import PackOptions, Piece
from tsal_dist.pack.window import Window, WindowFollower, enclose
from tsal_dist.shards.frames import OK, FrameRow

_UNLABELLED = Label(Face())
_FAR = 0.5
"""Landmarks that lie further out than so much of the picture's longer side are mistakes."""
_DECIMALS = 3  # of a pixel, in JSON; the frame table is exact


def build_row(
    piece: Piece,
    decoded: Decoded,
    index: int,
    options: PackOptions,
    detect: Detector | None,
    windows: WindowFollower | None = None,
) -> tuple[FrameRow, memoryview | None]:
    """The row of a frame that will be stored at `index`, and its JPEG; None with a row that says why not.

    `windows` are those of this shard's frames, where only the face and what is around it is kept.
    """

    def failed(status: str, reason: str) -> tuple[FrameRow, None]:
        return FrameRow(piece.source.name, decoded.frame, status=status, reason=reason), None

    label = piece.source.labels.get(decoded.frame, _UNLABELLED)
    if decoded.status != OK:
        return failed(decoded.status, decoded.reason)
    if label.problem:
        return failed("annotation", label.problem)
    source: Image = decoded.image_HWC
    if astray := far_outside(label.face, source):
        return failed("annotation", astray)
    face = keep_inside(label.face, source)
    if label.face.points_K2 is not None and face.points_K2 is None:
        return failed("annotation", "every landmark is outside of the picture")
    box = _find_box(piece, face, source, options, detect)
    if box is None:
        return failed(
            "no_box",
            "no annotation, row of a box file or detection says where the subject is: give --boxes, --face-model, --box-model, or --box full",
        )
    window = None
    if windows is not None:
        window = _find_window(windows, piece, face, box, source)
        if window is None:
            return failed("no_box", "the face box is outside of the picture")
        source = source[window.top : window.bottom, window.left : window.right]
    image = shrink(source, options.crop_px or options.size_px)
    encoded, jpg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, options.quality])
    if not encoded:
        return failed("unreadable", "the picture cannot be stored as JPEG")
    row = _stored_row(piece.source.name, decoded, index, (source, image), face, box, window)
    x1, y1, x2, y2 = row.box
    if min(x2 - x1, y2 - y1) < LEAST_PX:
        return failed(
            "no_box", f"the box is {x2 - x1:.2g} x {y2 - y1:.2g} px where it is stored: nothing is to be seen"
        )
    return row, jpg.data


def _stored_row(
    video: str,
    decoded: Decoded,
    index: int,
    images: tuple[Image, Image],
    face: Face,
    box: Box,
    window: Window | None,
) -> FrameRow:
    """Everything in pixels of the stored image, whose pixel centres are at whole numbers as the source's are. `images`:
    the part of the source that is kept, and what is stored of it."""
    (source_height, source_width), (height, width) = (image.shape[:2] for image in images)
    x_scale, y_scale = width / source_width, height / source_height
    left, top = (window.left, window.top) if window else (0, 0)
    x1, x2 = ((x - left + 0.5) * x_scale - 0.5 for x in box[0::2])
    y1, y2 = ((y - top + 0.5) * y_scale - 0.5 for y in box[1::2])
    face_px = math.sqrt((x2 - x1) * (y2 - y1))
    if face.face_px is not None:
        face_px = face.face_px * math.sqrt(x_scale * y_scale)
    return FrameRow(
        video,
        decoded.frame,
        index,
        pts_ms=decoded.pts_ms,
        size_px=(width, height),
        source_size_px=(source_width, source_height),
        origin_px=(left, top) if window else None,
        box=(x1, y1, x2, y2),
        face_px=face_px,
        points_K2=_moved_points(face, (left, top), (x_scale, y_scale)),
        visible_K=face.visible_K,
        attributes=face.attributes,
    )


def far_outside(face: Face, image: Image) -> str:
    """Which landmark is so far off that it is a mistake, and not a face that the picture's edge cuts; "" for none."""
    if face.points_K2 is None or face.visible_K is None:
        return ""
    height, width = image.shape[:2]
    room = _FAR * max(height, width)
    low, high = np.array([-room, -room]), np.array([width + room, height + room])
    astray_K = (face.visible_K > 0) & ((face.points_K2 < low) | (face.points_K2 > high)).any(1)
    if not astray_K.any():
        return ""
    point = int(np.flatnonzero(astray_K)[0])
    x, y = face.points_K2[point]
    return (
        f"landmark {point} is at {x:.0f} {y:.0f}, far outside of the picture of {width} x {height}: "
        "labels are in pixels of the file that is packed"
    )


def keep_inside(face: Face, image: Image) -> Face:
    """Landmarks outside of the picture lose their place; without any left the face is unlabelled."""
    if face.points_K2 is None or face.visible_K is None:
        return face
    height, width = image.shape[:2]
    low, high = np.array([-0.5, -0.5]), np.array([width - 0.5, height - 0.5])
    inside_K = ((face.points_K2 >= low) & (face.points_K2 <= high)).all(axis=1)
    visible_K = np.where(inside_K, face.visible_K, 0).astype(np.uint8)
    if not visible_K.any():
        return Face(box=face.box, face_px=face.face_px)
    points_K2 = np.where(visible_K[:, None] > 0, face.points_K2, 0).astype(np.float32)
    return Face(points_K2, visible_K, face.box, face.face_px, face.attributes)


def _find_box(
    piece: Piece, face: Face, image: Image, options: PackOptions, detect: Detector | None
) -> Box | None:
    if options.box == "full":
        return full_box(image)
    found = choose_box(detect(image), face) if detect is not None else None
    return found or face.box or piece.source.box


def _find_window(windows: WindowFollower, piece: Piece, face: Face, box: Box, image: Image) -> Window | None:
    """Around the box and whatever landmarks lie beyond it, so that no label is lost."""
    size_px = (image.shape[1], image.shape[0])
    still = piece.source.kind == "still"
    return windows.follow(piece.source.name, enclose(box, tight_box(face)), size_px, still)


def shrink(image: Image, size_px: int) -> Image:
    """So that the longer side is at most `size_px`; 0 is no bound. Pictures never grow."""
    height, width = image.shape[:2]
    longer = max(height, width)
    if not size_px or longer <= size_px:
        return image
    size = (max(1, round(width * size_px / longer)), max(1, round(height * size_px / longer)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _moved_points(
    face: Face, origin_px: tuple[int, int], scale: tuple[float, float]
) -> NDArray[np.float32] | None:
    """Those without a place stay zero."""
    if face.points_K2 is None or face.visible_K is None:
        return None
    moved_K2 = (face.points_K2 - origin_px + 0.5) * scale - 0.5
    return np.where(face.visible_K[:, None] > 0, moved_K2, 0).astype(np.float32)


def encode_label(row: FrameRow) -> bytes:
    """The JSON member: what a reader without the frame table needs. Keys are sorted, so bytes repeat."""
    page: dict[str, Any] = {
        "video": row.video,
        "frame": row.frame,
        "pts_ms": row.pts_ms,
        "size": row.size_px,
        "source_size": row.source_size_px,
        "box": [round(side, _DECIMALS) for side in row.box],
        "face_px": round(row.face_px, _DECIMALS),
    }
    if row.origin_px is not None:
        page["crop"] = row.origin_px
    if row.points_K2 is not None and row.visible_K is not None:
        page["points"] = row.points_K2.astype(float).round(_DECIMALS).tolist()
        page["visible"] = row.visible_K.tolist()
    if row.attributes:
        page["attributes"] = row.attributes
    return json.dumps(page, sort_keys=True, separators=(",", ":")).encode()
