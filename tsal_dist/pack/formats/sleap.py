"""SLEAP's `.slp`: an HDF5 file with tables of frames, instances and points, and JSON about skeleton and videos.

Only what people placed is read, `instances` of type 0; predictions are not labels. Before format 1.1 coordinates were
counted from the picture's edge. `sleap-io` reads this too, and brings forty packages with it; `h5py` is all it takes.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError, DataError, MissingExtra
from tsal_dist.pack.face import HIDDEN, Entry, Face, build_face, check_path, spell_subject
from tsal_dist.records import Layout

FORMAT = 1.2
_FRAME = np.dtype(
    [
        ("frame_id", "u8"),
        ("video", "u4"),
        ("frame_idx", "u8"),
        ("instance_id_start", "u8"),
        ("instance_id_end", "u8"),
    ]
)
_INSTANCE = np.dtype(
    [
        ("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
        ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8"),
        ("tracking_score", "f4"),
    ]
)  # fmt: skip
_POINT = np.dtype([("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")])
_PREDICTED = np.dtype([*_POINT.descr, ("score", "f8")])
_BY_HAND, _BODY = 0, 1


def read_sleap(path: Path, root: Path) -> list[Entry]:
    """One entry per instance that a person placed."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            about = file["metadata"].attrs
            shift = 0.5 if float(about.get("format_id", FORMAT)) < 1.1 else 0.0
            layout = _read_layout(json.loads(about["json"]))
            videos = [_video(json.loads(text), root) for text in file["videos_json"][()]]
            frames, instances, points = (file[name][()] for name in ("frames", "instances", "points"))
            tracks = [_track(text) for text in file["tracks_json"][()]] if "tracks_json" in file else []
        entries = [
            replace(
                _entry(frame, instance, points, videos, layout, shift),
                subject=tracks[int(instance["track"])] if 0 <= int(instance["track"]) < len(tracks) else "",
            )
            for frame in frames
            for instance in instances[int(frame["instance_id_start"]) : int(frame["instance_id_end"])]
            if instance["instance_type"] == _BY_HAND
        ]
    except (OSError, KeyError, ValueError, IndexError, TypeError, DataError) as error:
        raise ConfigError(f"{path} is no labels file of SLEAP: {type(error).__name__}: {error}.") from error
    if not entries:
        raise ConfigError(f"{path} holds no instance that a person placed.")
    return entries


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "sleap", "Reading and writing .slp files") from None
    return h5py


def _read_layout(page: dict[str, Any]) -> Layout:
    """The first skeleton: its nodes are places in the list of all nodes, its links go from node to node."""
    skeleton = page["skeletons"][0]
    places = [node["id"] for node in skeleton["nodes"]]
    names = tuple(str(page["nodes"][place]["name"]) for place in places)
    pairs = tuple(
        (places.index(link["source"]), places.index(link["target"]))
        for link in skeleton.get("links", ())
        if _edge_kind(link.get("type")) == _BODY
    )
    return Layout(names, pairs)


def _track(text: bytes) -> str:
    """A track is written as [the frame it was made in, its name]."""
    page = json.loads(text)
    return spell_subject(str(page[1] if isinstance(page, list) else page))


def _edge_kind(spelt: Any) -> int:
    """The number in what jsonpickle made of an enum: a whole one at its first use, and later ones by reference."""
    if isinstance(spelt, dict) and "py/reduce" in spelt:
        return int(spelt["py/reduce"][1]["py/tuple"][0])
    if isinstance(spelt, dict) and "py/id" in spelt:
        return int(spelt["py/id"])
    return _BODY


def _video(page: dict[str, Any], root: Path) -> list[str] | str:
    backend = page.get("backend", page)
    found = backend.get("filename", page.get("filename"))
    if backend.get("filenames"):
        return [_find(name, root) for name in backend["filenames"]]
    if found in (None, "."):
        raise DataError("its frames are embedded in it and not in a video beside it; export the labels alone")
    return _find(str(found), root)


def _find(name: str, root: Path) -> str:
    """A video where the file says it is, or beside the file: labels travel to other machines."""
    plain = Path(check_path(name.replace("\\", "/")))
    beside = root / plain.name
    return str(beside if not (root / plain).exists() and beside.exists() else root / plain)


def _entry(
    frame: NDArray[Any],
    instance: NDArray[Any],
    points: NDArray[Any],
    videos: list[Any],
    layout: Layout,
    shift: float,
) -> Entry:
    marks = points[int(instance["point_id_start"]) : int(instance["point_id_end"])]
    if len(marks) != len(layout.names):
        raise DataError(f"an instance has {len(marks)} points and the skeleton {len(layout.names)}")
    points_K2: NDArray[np.float64] = np.stack([marks["x"], marks["y"]], 1) - shift
    placed_K = np.isfinite(points_K2[:, 0]) & np.isfinite(points_K2[:, 1])
    # A node that is set to not visible keeps its place: hidden, as ours.
    visible_K = np.where(placed_K, np.where(marks["visible"], 1, HIDDEN), 0).astype(np.uint8)
    face = build_face(np.where(placed_K[:, None], points_K2, 0), visible_K) if placed_K.any() else Face()
    video, number = videos[int(frame["video"])], int(frame["frame_idx"])
    if isinstance(video, list):
        return Entry(video[number], None, face, layout=layout)
    return Entry(video, number, face, layout=layout)


def write_sleap(path: Path, entries: Sequence[Entry], points: int, layout: Layout) -> None:
    """One skeleton, one video per file; stills are a video of one picture each."""
    names = layout.names_of(points)
    files = list(dict.fromkeys(entry.path for entry in entries))
    place = {file: number for number, file in enumerate(files)}
    tracks = list(dict.fromkeys(entry.subject for entry in entries if entry.subject))
    of_frame: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        of_frame.setdefault((entry.path, entry.frame or 0), []).append(entry)
    frames: list[tuple[int, ...]] = []
    instances: list[tuple[float, ...]] = []
    marks: list[tuple[float, ...]] = []
    for number, ((video, frame), here) in enumerate(of_frame.items()):
        start = len(instances)
        for entry in here:
            face = entry.face
            if face.points_K2 is None or face.visible_K is None:
                continue
            first = len(marks)
            marks += [
                (x, y, seen != HIDDEN, True) if seen else (np.nan, np.nan, False, False)
                for (x, y), seen in zip(face.points_K2.tolist(), face.visible_K.tolist(), strict=True)
            ]
            track = tracks.index(entry.subject) if entry.subject else -1
            instances.append((len(instances), _BY_HAND, number, 0, track, -1, 0.0, first, len(marks), 0.0))
        frames.append((number, place[video], frame, start, len(instances)))
    stills = {entry.path for entry in entries if entry.frame is None}
    videos = [json.dumps({"filename": file, "backend": _backend(file, file in stills)}) for file in files]
    with _h5py().File(path, "w") as file:
        about = file.create_group("metadata")
        about.attrs["format_id"] = FORMAT
        about.attrs["json"] = np.bytes_(json.dumps(_about(names, layout)))
        for name, rows, kind in (
            ("frames", frames, _FRAME),
            ("instances", instances, _INSTANCE),
            ("points", marks, _POINT),
            ("pred_points", [], _PREDICTED),
        ):
            file.create_dataset(name, data=np.array(rows, kind))
        file.create_dataset("videos_json", data=[np.bytes_(text) for text in videos])
        told = [np.bytes_(json.dumps([0, track])) for track in tracks]
        file.create_dataset("tracks_json", data=told or np.array([], "S1"))
        file.create_dataset("suggestions_json", data=np.array([], "S1"))


def _backend(file: str, still: bool) -> dict[str, Any]:
    if still:
        return {"type": "ImageVideo", "filename": file, "filenames": [file]}
    return {"type": "MediaVideo", "filename": file}


def _about(names: Sequence[str], layout: Layout) -> dict[str, Any]:
    kind = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [_BODY]}]}
    links = [
        {
            "edge_insert_idx": place,
            "key": 0,
            "source": a,
            "target": b,
            "type": kind if not place else {"py/id": _BODY},
        }
        for place, (a, b) in enumerate(layout.skeleton)
    ]
    graph = {"name": "subject", "num_edges_inserted": len(links)}
    skeleton = {"directed": True, "graph": graph, "links": links, "multigraph": True}
    skeleton["nodes"] = [{"id": place} for place in range(len(names))]
    return {
        "version": "2.0.0",
        "skeletons": [skeleton],
        "nodes": [{"name": name, "weight": 1.0} for name in names],
        "videos": [],
        "tracks": [],
        "suggestions": [],
        "negative_anchors": {},
        "provenance": {},
    }
