"""How a Slurm job's tasks get into a container: by srun itself (pyxis), or by apptainer before the command."""

import shlex
from collections.abc import Sequence


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


def _join(words: list[str]) -> str:
    """As the shell reads them; a variable such as $TMPDIR is the job's to fill in."""
    return " ".join(f'"{word}"' if "$" in word else shlex.quote(word) for word in words)
