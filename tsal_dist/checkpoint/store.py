"""Checkpoints of one role in one folder: written whole, verified when read, the oldest removed."""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from tsal_dist.checkpoint.codec import decode_entry, decode_state, encode_state
from tsal_dist.dist.collectives import gather_json
from tsal_dist.errors import CheckpointError
from tsal_dist.json_object import read_object
from tsal_dist.run_dir import write_whole

logger = logging.getLogger(__name__)

COMMIT, SCORE = "COMMIT", "SCORE"


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint held, for one rank."""

    step: int
    state: dict[str, Any]
    """The role's."""
    rank_state: dict[str, Any] | None
    """This rank's own; None if another number of ranks wrote the checkpoint, so that nobody's is this one's."""


class Checkpoints:
    """The checkpoints of one role. Every rank owns one; rank 0 alone touches what is shared.

    `identity` names what a state only makes sense with (recipe, model, manifest): a checkpoint with another
    value is refused by name. None reads whatever is there: for evaluation, which only wants the weights.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any] | None, keep: int, rank: int = 0, world: int = 1
    ) -> None:
        self._folder = folder
        self._identity = None if identity is None else dict(identity)
        self._keep = keep
        self._rank = rank
        self._world = world
        self._at: int | None = None

    def save(self, step: int, state: Mapping[str, Any], rank_state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step`; on return it is committed. Collective; `state` is rank 0's alone.

        Older ones go, except the newest and the best by score. CheckpointError, on every rank, if any of them
        could not write; what was committed before is untouched then, and training may go on.
        """
        place = self._place(step)
        if step == self._at:  # loaded or saved at this very step: there is nothing new to say
            return place
        self._together(step, lambda: self._clear(place))  # the others write only into a clean folder
        parts = self._together(step, lambda: self._write(place, state, rank_state))
        files = {name: digest for part in parts for name, digest in part.items()}
        self._together(step, lambda: self._commit(place, step, files))
        self._at = step
        return place

    def committed(self) -> list[int]:
        """The steps of all whole checkpoints, oldest first."""
        found = []
        for place in self._folder.glob("step_*"):
            number = place.name.removeprefix("step_")
            if number.isdecimal() and number.isascii() and (place / COMMIT).exists():
                found.append(int(number))
        return sorted(found)

    def latest_committed(self) -> int | None:
        """The step to resume from, or None for a run that has nothing yet."""
        steps = self.committed()
        return steps[-1] if steps else None

    def load(self, step: int) -> Loaded:
        """The checkpoint of `step`, verified. On a machine of any rank; `rank_state` only for an equal world."""
        place = self._place(step)
        commit = self._read_commit(place)
        self._check_identity(place, commit["identity"])
        state = _read_state(place, "role", commit["files"])
        rank_state = None
        if commit["world"] == self._world:
            rank_state = _read_state(place, f"rank_{self._rank}", commit["files"])
        else:
            logger.info("step %d was saved by %d ranks, now %d", step, commit["world"], self._world)
        self._at = step
        return Loaded(step, state, rank_state)

    def peek(self, step: int, key: str) -> Any:
        """One entry of the role's state that holds no tensors or arrays, without reading those of the others."""
        place = self._place(step)
        return decode_entry(_read_file(place, "role.json", self._read_commit(place)["files"]), key)

    def record_score(self, step: int, score: float) -> None:
        """Note how good the checkpoint of `step` is; lower is better (NME). Rank 0 only."""
        write_whole(self._place(step) / SCORE, json.dumps(score if math.isfinite(score) else None).encode())

    def best(self) -> int | None:
        """The step with the lowest score; the newest of equals; None if none has a score."""
        scores = {step: self._score(step) for step in self.committed()}
        scored = {step: score for step, score in scores.items() if score is not None}
        return min(reversed(scored), key=lambda step: scored[step]) if scored else None

    def _place(self, step: int) -> Path:
        return self._folder / f"step_{step}"

    def _together(self, step: int, act: Callable[[], dict[str, str]]) -> list[dict[str, str]]:
        """What `act` returned on every rank, or one error on all of them: none may wait for one that failed."""
        error, result = "", {}
        try:
            result = act()
        except OSError as problem:
            error = f"rank {self._rank}: {problem}"
        answers = gather_json([error, result])
        errors = [error for error, _ in answers if error]
        if errors:
            if self._rank == 0:
                shutil.rmtree(self._place(step), ignore_errors=True)
            raise CheckpointError(
                f"The checkpoint of step {step} could not be written ({'; '.join(errors)}). Free space or mend "
                f"the filesystem; the one before it is whole."
            )
        return [result for _, result in answers]

    def _clear(self, place: Path) -> dict[str, str]:
        if self._rank == 0:
            # Left by a crash, or by a history that an earlier checkpoint has replaced.
            _remove(place)
            place.mkdir(parents=True)
        return {}

    def _write(self, place: Path, state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
        digests = _write_state(place, f"rank_{self._rank}", own)
        return digests | (_write_state(place, "role", state) if self._rank == 0 else {})

    def _commit(self, place: Path, step: int, files: Mapping[str, str]) -> dict[str, str]:
        if self._rank == 0:
            commit = {"step": step, "world": self._world, "identity": self._identity, "files": files}
            write_whole(place / COMMIT, json.dumps(commit, indent=1).encode())
            self._remove_old(newest=step)
        return {}

    def _score(self, step: int) -> float | None:
        try:
            score = json.loads((self._place(step) / SCORE).read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            score = "unreadable"
        if score is not None and type(score) not in (int, float):
            # A score only says which checkpoint to keep besides the newest: no reason to stop.
            logger.warning(
                "%s holds no score; its checkpoint counts as never scored", self._place(step) / SCORE
            )
            return None
        return None if score is None or not math.isfinite(score) else float(score)

    def _remove_old(self, newest: int) -> None:
        """Keep the newest, the best, and nothing beyond `newest`: that was another history."""
        steps = self.committed()
        past = [step for step in steps if step <= newest]
        kept = {*past[-self._keep :], self.best()}
        for place in self._folder.glob("step_*"):
            number = place.name.removeprefix("step_")
            if number.isdecimal() and number.isascii() and (int(number) > newest or int(number) not in kept):
                _remove(place)

    def _read_commit(self, place: Path) -> dict[str, Any]:
        try:
            commit = read_object((place / COMMIT).read_bytes())
            kinds = {"world": int, "identity": dict | None, "files": dict}
            if not all(isinstance(commit[key], kind) for key, kind in kinds.items()):
                raise ValueError("a value of it has another kind")
            return {key: commit[key] for key in kinds}
        except FileNotFoundError:
            whole = ", ".join(map(str, self.committed())) or "none"
            raise CheckpointError(
                f"{place} has no {COMMIT}, so it was never finished. Whole checkpoints in {self._folder}: {whole}."
            ) from None
        except (ValueError, KeyError):
            raise CheckpointError(
                f"{place / COMMIT} is not readable. Remove {place} to resume from an earlier checkpoint."
            ) from None

    def _check_identity(self, place: Path, written: Mapping[str, Any] | None) -> None:
        if self._identity is None:
            return
        there = written or {}
        here = json.loads(json.dumps(self._identity))  # as JSON left it: tuples are lists there
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise CheckpointError(
                    f"{place} was written with {name} = {there.get(name)!r} and this run has {here.get(name)!r}. "
                    f"Set it back, or start a new run."
                )


def _remove(place: Path) -> None:
    # COMMIT first: a crash half-way must not leave a folder that looks whole.
    (place / COMMIT).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)


def _write_state(place: Path, name: str, state: Mapping[str, Any]) -> dict[str, str]:
    """Write `state` as two files and return their digests by file name."""
    tensors, rest = encode_state(state)
    files = {f"{name}.json": rest, f"{name}.safetensors": safetensors.torch.save(tensors)}
    for file, data in files.items():
        write_whole(place / file, data)
    return {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}


def _read_state(place: Path, name: str, digests: Mapping[str, str]) -> Any:
    rest = _read_file(place, f"{name}.json", digests)
    return decode_state(safetensors.torch.load(_read_file(place, f"{name}.safetensors", digests)), rest)


def _read_file(place: Path, file: str, digests: Mapping[str, str]) -> bytes:
    try:
        data = (place / file).read_bytes()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != digests.get(file):
        raise CheckpointError(
            f"{place / file} is missing or not what was committed. Remove {place} to resume from an earlier "
            f"checkpoint."
        )
    return data
