"""What every run has in common that follows from a trained one: its place beside it, and processes of its own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tsal_dist.config import RunConfig
from tsal_dist.config.load import override
from tsal_dist.dist.environment import read_environment
from tsal_dist.run import Run


def follow(trained: Run, word: str, settings: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """The config of a run by the trained one's, with other settings; what the user says (`overrides`) wins.

    It lies in RUN-word, and has nothing to do with what the trained run itself came from. One process plays both roles;
    several share them, however that one was trained.
    """
    root = trained.dir.root
    name = f"{root.resolve().name}-{word}"
    changed = {
        "run.dir": str(root.parent / name),
        "run.name": name,
        "runtime.topology": "split" if read_environment().world > 1 else "inline",
        "runtime.role": "",
        "runtime.lockstep": False,
        "runtime.replay": "",
        "runtime.offline": [],
        "runtime.fork": "",
        **settings,
    }
    words = [f"{key}={json.dumps(value)}" for key, value in changed.items()]
    return override(trained.config, *words, *overrides)
