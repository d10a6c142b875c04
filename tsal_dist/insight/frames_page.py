"""The chapter of pictures: held-out frames with truth and guesses, and unlabelled frames that are worth a label."""

from collections.abc import Mapping, Sequence

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.inference.evaluation import ScoredFrame
from tsal_dist.inference.suggestion import Suggestion, labelled_since, show_guess, split_refs, suggest
from tsal_dist.inference.trained import load_trained, pick_device
from tsal_dist.insight import page
from tsal_dist.insight.contours import Lines, contours
from tsal_dist.insight.gallery import VIEW_PX, Judge, show_frames
from tsal_dist.insight.measured import KEPT, Model, some_frames
from tsal_dist.insight.side_by_side import side_by_side
from tsal_dist.records import FrameRef
from tsal_dist.run import Run

SAMPLES = 8
NEXT, LOOKED_AT = 8, 256
"""Frames that are suggested on the page, and how many are looked at for them."""


def tell_frames(models: Sequence[Model]) -> str:
    judges = {model.name: model.judge for model in models}
    first = models[0]
    chosen = [("Spread over the set", [one.ref for one in some_frames(first, SAMPLES)])]
    chosen += [(f"Worst of {first.name}, one frame per video", _one_per_video(first.found.worst))]
    chosen += [(f"Best of {first.name}, one frame per video", _one_per_video(first.found.best))]
    own = sum(model.run == first.run for model in models)
    switches = [("truth", "#ffffff")]
    switches += [(name, page.PHOTO_COLORS[number % 6]) for number, name in enumerate(judges)]
    parts = [
        page.paragraph(
            "Dots are what a model found, small rings the truth; a line leads from each truth to the first model's dot. "
            "A picture that is clicked grows."
        ),
        page.choices(switches, shown=2),  # a second model's dots on top would hide what is said of the first
    ]
    beside = side_by_side(models)
    if beside is not None:
        told = "Students of the runs, a row each, on the same frames, spread evenly; rings are the truth."
        parts = [page.heading("Side by side"), page.paragraph(told), page.picture(beside, told), *parts]
    for title, refs in chosen:
        parts.append(page.heading(title) + page.photos(_photos(judges, refs, own, first.lines)))
    return "".join(parts)


def _one_per_video(judged: Sequence[ScoredFrame]) -> list[FrameRef]:
    """The first frame of each of the first few videos."""
    firsts: dict[str, FrameRef] = {}
    for one in judged:
        firsts.setdefault(one.video, one.ref)
    return list(firsts.values())[:KEPT]


def _photos(judges: Mapping[str, Judge], refs: Sequence[FrameRef], own: int, lines: Lines) -> list[str]:
    """Captions name the errors of the first `own` models, those that the page is about."""
    found = []
    for shown in show_frames(judges, refs):
        marks = [
            page.Marks(name, points, number % 6)
            for number, (name, points) in enumerate(shown.points_K2.items())
        ]
        errors = ", ".join(
            f"{name.rpartition(' ')[2]} {100 * value:.1f} %" for name, value in list(shown.nme.items())[:own]
        )
        truth = page.Truth(shown.truth_K2, shown.visible_K)
        found.append(page.photo(shown.image_HWC, truth, marks, [errors, shown.name], lines))
    return found


def tell_next(run: Run, shards: ShardSet) -> str:
    """Unlabelled frames with the student's guess, those first from which a label would teach most; "" without any."""
    unlabelled, _ = split_refs(shards)
    if not unlabelled:
        return ""
    trained = load_trained(run.dir.root, "student")
    found = suggest(trained, shards, NEXT, pick_device(), LOOKED_AT, labelled_since(run.dir.labels))
    intro = (
        "Frames without a label, with the student's guess: those first from which a label would teach most. "
        f"To label them: tsal label {run.dir.root}"
    )
    lines = contours(run.config.model)
    reader = FrameReader(shards, ViewSettings(VIEW_PX, run.config.data.box_expand, labels=False))
    try:
        photos = [_suggested(reader, one, shards, lines) for one in found]
    finally:
        reader.close()
    return page.paragraph(intro) + page.photos(photos)


def _suggested(reader: FrameReader, one: Suggestion, shards: ShardSet, lines: Lines) -> str:
    guess = one.guess
    clip, points_K2 = show_guess(reader, guess)
    caption = [one.reason, shards.frame_name(guess.ref, guess.video, guess.frame)]
    return page.photo(clip.image_THWC[0], None, [page.Marks("student", points_K2, 0)], caption, lines)
