"""Whether a run that went on to other footage was measured there at all, or on the footage of the run that it began from."""

from collections.abc import Sequence
from pathlib import Path

from tsal_dist.errors import TsalError
from tsal_dist.inference.held_out import find_named
from tsal_dist.run import Run, load_run
from tsal_dist.shards.files import is_local, local_path


def say_where_measured(run: Run, where: Sequence[str]) -> str:
    """`where`: the shards that were measured on. "" where they are not all of the footage before, or nobody knows."""
    if run.origin is None or not run.config.uses_clips:
        return ""
    try:
        before = load_run(run.origin.run)
    except TsalError:
        return ""
    footage = find_named(run.dir.root, run.config, "unlabelled")
    old = _places(find_named(before.dir.root, before.config, "validation"))
    known = _places(find_named(before.dir.root, before.config, "labelled"))
    known |= _places(find_named(before.dir.root, before.config, "unlabelled"))
    own = _places(find_named(run.dir.root, run.config, "validation"))
    if not _places(where) | own <= old or _places(footage) & known:
        return ""
    return (
        f"{' and '.join(where)} is what {before.dir.root.name} was measured on. Of {' and '.join(footage)} no label is held "
        "out, so what was gained or lost there is not known: hold some out (`tsal adapt --validation`)."
    )


def _places(urls: Sequence[str]) -> set[str]:
    return {str(Path(local_path(url)).resolve()) if is_local(url) else url for url in urls}
