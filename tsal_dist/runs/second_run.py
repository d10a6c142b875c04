"""What every run has in common that follows from a trained one: its place beside it, and processes of its own."""

import json
from pathlib import Path

from tsal_dist.dist.environment import read_environment


def follow(run: Path, word: str) -> list[str]:
    """Overrides of RUN's settings: the new run lies in RUN-word, and has nothing to do with what RUN itself came from.

    One process plays both roles; several share them, however RUN was trained.
    """
    place = run.resolve()
    return [
        f"run.dir={json.dumps(str(run.parent / f'{place.name}-{word}'))}",
        f"run.name={json.dumps(f'{place.name}-{word}')}",
        f"runtime.topology={'split' if read_environment().world > 1 else 'inline'}",
        "runtime.role=",
        "runtime.lockstep=false",
        "runtime.replay=",
        "runtime.offline=[]",
        "runtime.fork=",
    ]
