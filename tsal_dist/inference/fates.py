"""What became of each input: in how many of its frames there is a subject, where it breaks off, why it was not read."""

from collections.abc import Iterator, Mapping, Sequence

from tsal_dist.inference.pictures import FrameRange, Source
from tsal_dist.inference.prediction import Found
from tsal_dist.pack.frame_count import stored_frames


def tell_fates(
    sources: Sequence[Source], rows: Sequence[Found], unread: Mapping[str, str], frames: FrameRange
) -> Iterator[str]:
    """One line for each input, in their order."""
    by_path: dict[str, list[Found]] = {source.path: [] for source in sources}
    for row in rows:
        by_path[row.path].append(row)
    for source in sources:
        if source.path in unread:
            yield f"{source.path}: left out. {unread[source.path]}"
        else:
            yield f"{source.path}: {_tell(source, by_path[source.path], frames)}"


def _tell(source: Source, rows: Sequence[Found], frames: FrameRange) -> str:
    seen = {row.frame for row in rows}
    held = {row.frame for row in rows if row.found}
    if source.kind == "image":
        return "a subject" if held else "no subject"
    text = f"a subject in {len(held)} of {len(seen)} frames"
    promised = stored_frames(source.path) if source.kind == "video" else 0
    last = max((frame for frame in seen if frame is not None), default=-1) + 1
    if last < min(promised, frames.last or promised):
        text += f"; it breaks off after {last} of its {promised} frames"
    return text
