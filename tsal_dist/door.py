"""tsal: landmark detectors on video, from a demo to predictions on your own footage.

    tsal VERB --help     says what a verb takes

Each verb is a page of its own that is imported when it is called for: this list is there at once.
"""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tsal_dist import __version__
from tsal_dist.cli import DOOR, run_entry
from tsal_dist.errors import ConfigError

TOOLS = Path(__file__).parents[1] / "tools"
"""Where the pages of tools lie in a checkout; an installed package holds them as `tsal_dist.tools`."""


@dataclass(frozen=True)
class Verb:
    """One word of the command."""

    name: str
    says: str
    module: str
    """In `tsal_dist`, or the name of a tool."""
    words: tuple[str, ...] = ()
    """Come before the user's own."""


# In the order of a user's day.
VERBS = (
    Verb("demo-data", "render videos of synthetic faces to try things on", "tools.make_synthetic"),
    Verb("boxes", "a net that finds your subject, from its labels", "tools.boxes"),
    Verb("pack", "videos and labels to shards", "tools.shard_videos"),
    Verb("shards", "look into shards: info, lint, preview, index, diff", "tools.inspect_shards"),
    Verb("convert", "label files of other programs", "tools.convert_labels"),
    Verb("suggest", "which frames to label next", "tools.suggest"),
    Verb("label", "a page to label frames on", "tools.label"),
    Verb("train", "train, or go on", "train"),
    Verb("adapt", "a trained detector to other footage", "adapt"),
    Verb("distill", "a large detector into a small one", "distill"),
    Verb("status", "how a run is", "tools.status"),
    Verb("report", "a page about a run", "tools.report"),
    Verb("evaluate", "measure on held-out shards", "evaluate"),
    Verb("predict", "find landmarks on footage", "predict"),
    Verb("export", "a detector as one file", "tools.export_weights"),
    Verb("plan", "how many processes should teach", "tools.plan"),
    Verb("queue", "look into a run's pseudo-labels", "tools.label_queue"),
    Verb("doctor", "test the storage that roles share", "tools.label_queue", ("doctor",)),
    Verb("recipes", "list the training methods", "recipes.__main__"),
    Verb("detectors", "list the networks", "models.__main__"),
    Verb("config", "every setting with its meaning", "tools.show_settings"),
)


def main(argv: list[str]) -> int:
    """Hand over to a verb's page."""
    verbs = {verb.name: verb for verb in VERBS}
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(_list(verbs))
        return 0
    if argv[0] == "--version":
        sys.stdout.write(f"tsal_dist {__version__}\n")
        return 0
    if argv[0] not in verbs:
        near = difflib.get_close_matches(argv[0], verbs, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"tsal knows no {argv[0]!r}.{hint} It knows {', '.join(verbs)}.")
    verb = verbs[argv[0]]
    called = [] if verb.name in verb.words else [verb.name]  # a page that has verbs says them itself
    sys.argv[0] = " ".join([DOOR.strip(), *called])  # what usage lines call themselves
    page: Callable[[list[str]], int] = _load(verb).main
    return page([*verb.words, *argv[1:]])


def script() -> None:
    """What the installed command runs."""
    raise SystemExit(run_entry(main))


def _list(verbs: dict[str, Verb]) -> str:
    width = max(map(len, verbs))
    lines = [f"    {name:<{width}}  {verb.says}" for name, verb in verbs.items()]
    return f"{__doc__}\n" + "\n".join(lines) + "\n"


def _load(verb: Verb) -> ModuleType:
    """A page of the package, or of the tools: those of a checkout, else those that came with the package."""
    name = verb.module.removeprefix("tools.")
    page = TOOLS / f"{name}.py"
    if verb.module == name or not page.is_file():
        return importlib.import_module(f"tsal_dist.{verb.module}")
    spec = importlib.util.spec_from_file_location(f"tsal_dist.tools.{name}", page)
    assert spec is not None, "the file is there"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    script()
