"""Checkpoints of one role in one folder: written whole, verified when read, the oldest removed.

A process may wake up in the middle of a save, long after a successor went on without it. So what it writes lies in a
folder of its own until it is whole, and gets the name step_<n> only if the process's turn lasts; nothing that a later
incarnation has left is ever replaced or removed.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsal_dist.checkpoint.codec import decode_entry
from tsal_dist.checkpoint.folder import (
    Commit,
    DamagedCheckpoint,
    aside_folder,
    discard,
    hide,
    leftovers,
    read_commit,
    read_file,
    read_state,
    rename_durably,
    write_commit,
    write_state,
)
from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.dist.collectives import broadcast_json, gather_json
from tsal_dist.errors import CheckpointError, ExchangeError, StaleRun
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.tenure import Tenure, surviving
from tsal_dist.json_object import if_finite
from tsal_dist.run_dir import COMMIT, make_folder, step_folder, whole_steps, write_whole

logger = logging.getLogger(__name__)

SCORE = "SCORE"
DAMAGED = "damaged-"
"""Begins the name of a checkpoint that could not be resumed from, kept for a person to look at."""
LOOKS_S = (0.0, 0.2, 1.0, 3.0)
"""Pauses before a checkpoint is looked at again that another host's cache may show as it was."""


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
    value is refused by name. None reads whatever is there (`to_read`).
    `tenure` is rank 0's turn; without one nobody is expected to succeed. Within `limits` a full disk is waited for.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any] | None,
        keep: int,
        rank: int = 0,
        world: int = 1,
        *,
        tenure: Tenure | None = None,
        limits: DeadlinesConfig | None = None,
    ) -> None:
        self._folder = folder
        self._identity = None if identity is None else dict(identity)
        self._keep = keep
        self._rank = rank
        self._world = world
        self._tenure = tenure
        self._limits = limits
        self._incarnation = tenure.incarnation if tenure else 0
        self.at: int | None = None
        """The step that was loaded or saved last, None before the first; the same on every rank."""

    @classmethod
    def to_read(cls, folder: Path) -> "Checkpoints":
        """Those of anybody, whatever method or data they are of; nothing is saved through it."""
        return cls(folder, None, keep=1)

    def save(self, step: int, state: Mapping[str, Any], rank_state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step`; on return it is committed. Collective; `state` is rank 0's alone.

        Older ones go, except the newest and the best by score. CheckpointError, on every rank, if any of them
        could not write; what was committed before is untouched then, and training may go on. StaleRun where a
        successor has started.
        """
        place = step_folder(self._folder, step)
        if step == self.at:  # loaded or saved at this very step: there is nothing new to say
            return place
        # The others write only into a clean folder, which rank 0 names.
        aside = self._folder / self._together(step, lambda: self._clear(step))[0].get("folder", "")
        parts = self._together(step, lambda: self._write(aside, state, rank_state))
        files = {name: digest for part in parts for name, digest in part.items()}
        self._together(step, lambda: self._commit(aside, place, step, files))
        self.at = step
        if self._rank == 0:
            self._remove_old(newest=step)
        return place

    def committed(self) -> list[int]:
        """The steps of the whole checkpoints of the history that goes on, oldest first."""
        commits = {step: self._peek_commit(step) for step in whole_steps(self._folder)}
        known = {step: commit.order for step, commit in commits.items() if commit}
        # One whose COMMIT cannot be read is offered, so that somebody hears of it.
        return sorted([*surviving(known), *(commits.keys() - known.keys())])

    def latest_committed(self) -> int | None:
        """The step to resume from, or None for a run that has nothing yet."""
        steps = self.committed()
        return steps[-1] if steps else None

    def load(self, step: int) -> Loaded:
        """The checkpoint of `step`, verified. On a machine of any rank; `rank_state` only for an equal world."""
        loaded, commit = self._load(step)
        self._take_up(step, commit)
        return loaded

    def load_latest(self, most: int | None = None) -> Loaded | None:
        """The newest checkpoint that is whole, of step `most` at most; None where there is none. Collective.

        Rank 0 alone says which: a listing may be stale, and ranks that went on from different steps would average the
        gradients of different weights. A damaged one is set aside, and the one before it is taken.
        """
        self.at = None  # where there is none, what was saved before is of another history
        found = self.committed() if self._rank == 0 else []
        steps = broadcast_json([step for step in found if most is None or step <= most])
        for step in reversed(steps):
            loaded = self._load_together(step)
            if loaded is not None:
                return loaded
        if steps:
            raise CheckpointError(
                f"None of the checkpoints {', '.join(map(str, steps))} in {self._folder} is whole. They are kept as "
                f"{DAMAGED}*; restore one of them, or start again with --clean."
            )
        return None

    def peek(self, step: int, key: str) -> Any:
        """One entry of the role's state that holds no tensors or arrays, without reading those of the others."""
        place = step_folder(self._folder, step)
        return decode_entry(read_file(place, "role.json", self._read_commit(step).files), key)

    def peek_all(self, key: str) -> list[Any]:
        """That entry of every checkpoint that is kept; of a damaged one, which nobody can go on from, none."""
        found = []
        for step in self.committed():
            try:
                found.append(self.peek(step, key))
            except (CheckpointError, OSError) as error:
                logger.warning("the checkpoint of step %d needs nothing any more: %s", step, error)
        return found

    def record_score(self, step: int, score: float) -> None:
        """Note how good the checkpoint of `step` is; lower is better (NME). Rank 0 only."""
        self._require_current()
        text = json.dumps(if_finite(score)).encode()
        when_there_is_room(lambda: write_whole(step_folder(self._folder, step) / SCORE, text), self._limits)

    def best(self) -> int | None:
        """The step with the lowest score; the newest of equals; None if none has a score."""
        scores = {step: self._score(step) for step in self.committed()}
        scored = {step: score for step, score in scores.items() if score is not None}
        return min(reversed(scored), key=lambda step: scored[step]) if scored else None

    def _together(self, step: int, act: Callable[[], dict[str, str]]) -> list[dict[str, str]]:
        """What `act` returned on every rank, or one error on all of them: none may wait for one that failed."""
        error, stale, result = "", "", {}
        try:
            result = when_there_is_room(act, self._limits)
        except StaleRun as problem:
            stale = str(problem)
        except (OSError, ExchangeError) as problem:
            error = f"rank {self._rank}: {problem}"
            stale = self._why_over()  # then a successor has cleared away what was being written
        answers = gather_json([stale, error, result])
        endings = [over for over, _, _ in answers if over]
        errors = [error for _, error, _ in answers if error]
        if (endings or errors) and self._rank == 0:
            self._remove(aside_folder(self._folder, step, self._incarnation))
        if endings:
            raise StaleRun(endings[0])
        if errors:
            raise CheckpointError(
                f"The checkpoint of step {step} could not be written ({'; '.join(errors)}). Free space or mend "
                f"the filesystem; the one before it is whole."
            )
        return [result for _, _, result in answers]

    def _clear(self, step: int) -> dict[str, str]:
        if self._rank != 0:
            return {}
        self._require_current()
        for path in leftovers(self._folder, self._incarnation):
            self._remove(path)
        aside = aside_folder(self._folder, step, self._incarnation)
        make_folder(aside)
        return {"folder": aside.name}

    def _write(self, aside: Path, state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
        digests = write_state(aside, f"rank_{self._rank}", own)
        return digests | (write_state(aside, "role", state) if self._rank == 0 else {})

    def _commit(self, aside: Path, place: Path, step: int, files: Mapping[str, str]) -> dict[str, str]:
        if self._rank == 0:
            orders = [
                commit.order for other in whole_steps(self._folder) if (commit := self._peek_commit(other))
            ]
            serial = max((count for owner, count in orders if owner == self._incarnation), default=0) + 1
            write_commit(aside, Commit(step, self._world, self._identity, files, self._incarnation, serial))
            self._require_current()
            if place.exists():
                # Left by a crash, or by a history that an earlier checkpoint has replaced.
                self._require_mine(step)
                hide(place)
            rename_durably(aside, place)  # refused where a successor's has just taken the name
        return {}

    def _remove_old(self, newest: int) -> None:
        """Keep the newest, the best, and nothing beyond `newest`: that was another history. May fail: all is safe."""
        try:
            self._require_current()
            kept = {*[step for step in self.committed() if step <= newest][-self._keep :], self.best()}
            for step in whole_steps(self._folder):
                # One whose COMMIT cannot be read may be anybody's: it stays until it is resumed from, or set aside.
                if (step > newest or step not in kept) and self._peek_commit(step):
                    self._require_mine(step)
                    self._remove(step_folder(self._folder, step))
            for path in leftovers(self._folder, self._incarnation):
                self._remove(path)
        except StaleRun:
            raise
        except (OSError, ExchangeError) as error:
            logger.warning("old checkpoints in %s stay: %s", self._folder, error)

    def _remove(self, path: Path) -> None:
        """Take the name away first: a crash half-way must not leave a folder that looks whole."""
        try:
            if path.exists():
                discard(path if path.name.startswith(".") else hide(path))
        except OSError as error:
            logger.warning("%s cannot be removed (%s); it is no longer needed", path, error)

    def _require_current(self) -> None:
        if self._tenure:
            self._tenure.require()

    def _why_over(self) -> str:
        """What says that this process's turn is over; "" where nothing does."""
        try:
            self._require_current()
        except StaleRun as problem:
            return str(problem)
        except ExchangeError:
            return ""
        return ""

    def _require_mine(self, step: int) -> None:
        """Raise StaleRun where the checkpoint of `step` was left by a later incarnation."""
        commit = self._peek_commit(step)
        if commit and commit.incarnation > self._incarnation:
            raise StaleRun(
                f"{step_folder(self._folder, step)} was written by incarnation {commit.incarnation} of this role, which "
                f"has followed this one (incarnation {self._incarnation}); this process must end."
            )

    def _load_together(self, step: int) -> Loaded | None:
        """The checkpoint of `step` on every rank, the same on all of them; None on all where it is damaged."""
        answers: list[Any] = []
        for pause_s in LOOKS_S:
            time.sleep(pause_s)
            loaded, commit, said = self._try_load(step)
            answers = gather_json(said)
            refusals = [answer["refused"] for answer in answers if answer["refused"]]
            if refusals:
                raise CheckpointError(refusals[0])
            if loaded and commit and all(answer == answers[0] for answer in answers):
                self._take_up(step, commit)
                return loaded
        faults = [f"rank {rank}: {answer['fault']}" for rank, answer in enumerate(answers) if answer["fault"]]
        if not faults:
            raise CheckpointError(
                f"The ranks see different checkpoints of step {step} in {self._folder}. Is it a filesystem that all "
                f"of them share? Look at its caches, then resume."
            )
        if any(answer["lost"] for answer in answers):
            raise CheckpointError(f"The checkpoint of step {step} cannot be read ({'; '.join(faults)}).")
        logger.error("the checkpoint of step %d is damaged and set aside: %s", step, "; ".join(faults))
        if self._rank == 0:
            self._set_aside(step)
        return None

    def _try_load(self, step: int) -> tuple[Loaded | None, Commit | None, dict[str, Any]]:
        """A checkpoint and what this rank tells the others: that it is damaged, refused, cannot be read, or what it is."""
        said = {"refused": "", "fault": "", "lost": False, "commit": ""}
        try:
            said["commit"] = hashlib.sha256(
                (step_folder(self._folder, step) / COMMIT).read_bytes()
            ).hexdigest()
            loaded, commit = self._load(step)
            return loaded, commit, said
        except DamagedCheckpoint as error:
            said["fault"] = str(error)
        except CheckpointError as error:
            said["refused"] = str(error)
        except OSError as error:
            said |= {"fault": str(error), "lost": True}
        return None, None, said

    def _load(self, step: int) -> tuple[Loaded, Commit]:
        place, commit = step_folder(self._folder, step), self._read_commit(step)
        self._check_identity(place, commit.identity)
        state = read_state(place, "role", commit.files)
        rank_state = None
        if commit.world == self._world:
            rank_state = read_state(place, f"rank_{self._rank}", commit.files)
        else:
            logger.info("step %d was saved by %d ranks, now %d", step, commit.world, self._world)
        return Loaded(step, state, rank_state), commit

    def _take_up(self, step: int, commit: Commit) -> None:
        self.at = step
        # A run that was copied begins to count anew, and still comes after what it was copied from.
        self._incarnation = max(self._incarnation, commit.incarnation)

    def _set_aside(self, step: int) -> None:
        place = step_folder(self._folder, step)
        self._require_current()
        self._require_mine(step)
        rename_durably(place, place.with_name(f"{DAMAGED}{place.name}-{int(time.time())}"))

    def _score(self, step: int) -> float | None:
        path = step_folder(self._folder, step) / SCORE
        try:
            score = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            score = "unreadable"
        if score is not None and type(score) not in (int, float):
            # A score only says which checkpoint to keep besides the newest: no reason to stop.
            logger.warning("%s holds no score; its checkpoint counts as never scored", path)
            return None
        return None if score is None else if_finite(float(score))

    def _peek_commit(self, step: int) -> Commit | None:
        """What COMMIT says, or None where it is damaged or has just gone."""
        try:
            return read_commit(step_folder(self._folder, step))
        except (DamagedCheckpoint, OSError):
            return None

    def _read_commit(self, step: int) -> Commit:
        try:
            return read_commit(step_folder(self._folder, step))
        except FileNotFoundError:
            whole = ", ".join(map(str, self.committed())) or "none"
            raise CheckpointError(
                f"{step_folder(self._folder, step)} has no {COMMIT}, so it was never finished. Whole checkpoints in "
                f"{self._folder}: {whole}."
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
