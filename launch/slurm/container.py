"""How a Slurm job's tasks get into a container: by srun itself (pyxis), or by apptainer before the command; and what they see."""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.run import run_folder
from tsal_dist.shards.files import is_local, local_path

MOST_LINKS = 40
"""Linux follows as many on the way to a file."""


def container_words(image: str, places: Sequence[str], with_gpus: bool) -> str:
    """Shell lines that set `step_words` and `inside` for keep.sh; none without an image.

    The image brings Python and libraries. Code, runs and shards are those of `places`, at the same paths inside.
    """
    if not image:
        return ""
    if image.endswith(".sif"):
        binds = [f"--bind={place}" for place in places]
        return f"inside=({_join(['apptainer', 'exec', *(['--nv'] if with_gpus else []), *binds, image])})"
    mounts = ",".join(f"{place}:{place}" for place in places)
    return f"step_words=({_join([f'--container-image={image}', f'--container-mounts={mounts}'])})"


def seen_places(config: RunConfig, repository: Path, configs: Sequence[str], stage: str = "") -> list[str]:
    """What a container must see: the code, and every file and folder that the run is told of, with whatever links lead
    to. What lies below another one is there with it."""
    runtime, data = config.runtime, config.data
    named = [
        *configs,
        *own_code(config),
        *local_shards(config),
        config.model.weights,
        runtime.fork,
        runtime.replay,
        *runtime.offline,
        runtime.teacher.deepspeed_file,
        runtime.student.deepspeed_file,
    ]
    wanted = [repository, run_folder(config), *(Path(name) for name in named if name)]
    if data.cache_dir:
        wanted.append(_standing(repository / data.cache_dir))
    places = {place for path in wanted for place in _on_the_way(repository / path)}
    above = [place for place in sorted(places) if not any(other in place.parents for other in places)]
    found = [*map(str, above), *([stage] if stage else [])]
    for place in found:
        if "," in place or ":" in place:
            raise ConfigError(
                f"{place!r} is to be seen in the container, and no mount can name a place with a comma or a colon. Give the "
                f"run another path to it, by a link for instance."
            )
    return found


def own_code(config: RunConfig) -> list[str]:
    """The files of somebody's own code that the config names: a method, a detector."""
    files = [name.rpartition(":")[0] for name in (config.method.name, config.model.detector)]
    return [file for file in files if file.endswith(".py")]


def local_shards(config: RunConfig) -> list[str]:
    """The shard sets of the config that are folders, as plain paths: ./shards/x and file://shards/x are shards/x."""
    data = config.data
    sets = (*data.labelled, *data.unlabelled, *data.validation)
    return list(dict.fromkeys(os.path.normpath(local_path(url)) for url in sets if is_local(url)))


def _standing(path: Path) -> Path:
    """The folder in which training may make `path`."""
    while not path.exists() and len(path.parts) > 2:
        path = path.parent
    return path


def _on_the_way(path: Path) -> Iterator[Path]:
    """The path, and each one that symbolic links turn it into until it is opened."""
    path = Path(os.path.normpath(path))
    yield path
    for _ in range(MOST_LINKS):
        link = next((part for part in (*reversed(path.parents), path) if part.is_symlink()), None)
        if link is None:
            return
        path = Path(os.path.normpath(link.parent / link.readlink() / path.relative_to(link)))
        yield path


def _join(words: list[str]) -> str:
    """As the shell reads them; a variable such as $TMPDIR is the job's to fill in."""
    return " ".join(f'"{word}"' if "$" in word else shlex.quote(word) for word in words)
