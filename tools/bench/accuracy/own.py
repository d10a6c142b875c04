"""Shards that a user names, as a data set: `NAME labelled=FEW,MANY unlabelled=DIR test=DIR [...]`."""

from tools.bench.accuracy.data_set import DataSet, Fold
from tsal_dist.errors import ConfigError

FORM = "NAME labelled=FEW,MANY unlabelled=DIR test=DIR [validation=DIR] [video=DIR] [section.key=value ...]"
_NEEDED, _MORE = {"labelled", "unlabelled", "test"}, {"validation", "video"}


def parse_own(text: str, steps: int, repeats: int) -> DataSet:
    """One data set; each folder after `labelled=` is an amount of labels, named by how many frames have some."""
    from tsal_dist.shards.manifest import open_manifest

    name, *words = text.split() or [""]
    settings = [word for word in words if "." in word.partition("=")[0]]
    given = dict(word.partition("=")[::2] for word in words if word not in settings)
    if not _NEEDED <= given.keys() <= _NEEDED | _MORE:
        raise ConfigError(f"--shards is {text!r}; it must be '{FORM}'.")
    manifests = [open_manifest(url) for url in given["labelled"].split(",")]
    manifests.sort(key=lambda manifest: manifest.labelled)
    labelled = {str(manifest.labelled): manifest.url for manifest in manifests}
    if len(labelled) < len(manifests):
        raise ConfigError(
            f"--shards is {text!r}; two folders of labelled= have equally many labels. Name one."
        )
    return DataSet(
        name,
        tuple(labelled),
        (Fold(labelled, given["unlabelled"], given["test"], given.get("validation", "")),),
        steps=steps,
        repeats=repeats,
        settings=tuple(settings),
        video=given.get("video", ""),
        about="errors in % of what data.normalizer says",
    )
