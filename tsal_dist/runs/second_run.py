"""What every run has in common that follows from a trained one: its place beside it, processes of its own, and words."""

import re
from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, get_args

from tsal_dist.config import RunConfig
from tsal_dist.config.load import override, to_override
from tsal_dist.config.run import name_after
from tsal_dist.dist.environment import read_environment
from tsal_dist.errors import ConfigError
from tsal_dist.run import Run

SETTING = re.compile(r"[a-z_]+(\.\w+)+=")


def follow(trained: Run, word: str, settings: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """The config of a run by the trained one's, with other settings; what the user says (`overrides`) wins.

    It lies in RUN-word, learns from the shards that RUN names, wherever it is started, and has nothing to do with what the
    trained run itself came from. One process plays both roles; several share them, however that one was trained.
    """
    from tsal_dist.inference.held_out import Key, find_named

    root = trained.dir.root
    name = f"{root.resolve().name}-{word}"
    changed = {
        "run.dir": str(root.parent / name),
        "run.name": name_after(name),
        "runtime.topology": "split" if read_environment().world > 1 else "inline",
        "runtime.role": "",
        "runtime.crew": "",
        "runtime.lockstep": False,
        "runtime.replay": "",
        "runtime.offline": [],
        "runtime.fork": "",
        **{f"data.{key}": find_named(root, trained.config, key) for key in get_args(Key)},
        **settings,
    }
    return override(trained.config, *starmap(to_override, changed.items()), *overrides)


def split_settings(flag: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Folders, and the settings that stood behind them: a flag that takes several words takes those, too."""
    settings = [word for word in words if SETTING.match(word) and not Path(word).exists()]
    folders = [word for word in words if word not in settings]
    if words and not folders:
        raise ConfigError(
            f"{flag} names no folder, but the setting {words[0]!r}. Name folders of shards first."
        )
    return folders, settings
