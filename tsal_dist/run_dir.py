"""The files of a run, drawn in one place, and asked for here: `RunDir` knows where each lies.

run.json                        resolved config, run id, the run it began from; written once
data.json                       fingerprints of all shards, by the first process that opens them; written once
ctl/hello/<role>-<rank>.json    handshake: each role must see the other's nonce
ctl/hello/<role>-<rank>.turn     whose turn it is: the newest incarnation of this rank
ctl/beat/<role>-<rank>.json     heartbeat, judged by change on the reader's clock
ctl/turn/<role>.json            in lockstep: what the student asks for, and the teacher's answer
ctl/exit/<role>.json            how an attempt of a role ended, for its launcher; its rank 0's last act
ctl/stop                        why the run ends; written by the student's rank 0 alone
queue/<topic>/                  pseudo-labels and feedback; see the protocol beside tsal_dist.pseudo
weights/<role>/v<step>-<i>/     model versions that incarnation i published, each whole
checkpoints/<role>/step_<n>/    everything a role needs to go on; it gets its name when COMMIT is written
checkpoints/<role>/damaged-*    what could not be resumed from, for a person to look at
logs/attempt_<n>/               one log file per rank of an attempt; `latest` points at the newest
logs/student.job                the Slurm job that the student is in, for crews that join
logs/<job>.sbatch, logs/*.log   what a launcher submitted, and what its processes printed
metrics/<role>.jsonl            one line per logged step; `plan.jsonl`: which rows each step was given
metrics/tensorboard/<role>/     the same as events; metrics/wandb/ is W&B's own
metrics/<service>-<role>.json   how much of it a tracking service was told; .log has why it was not, .lock who tells
metrics/mlflow.json             the id that MLflow drew for this run; written once
profile/                        traces of a few steps, and a page about them
trust/<role>-<step>.safetensors what the scores of these weights mean, measured on held-out frames
label/                          frames that were suggested, and labels.csv, which a person has filled: it is not the run's to delete
code/<digest>/                  what a job that was submitted with --snapshot runs
report/                         what evaluation and the report leave for a person

<role> is `student`, `teacher`, or `teacher-<crew>` for each further crew of teachers that works beside the first one.
"""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tsal_dist.errors import DiskFull, ExchangeError

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space, nothing that was committed is lost (`df`, and `df -i` for files)",
    errno.EDQUOT: "the disk quota is used up; free some space, nothing that was committed is lost",
    errno.EROFS: "the filesystem is mounted read-only; remount it or choose another place",
    errno.EACCES: "this user may not {action} there; change the owner or the mode of the folder",
    errno.EPERM: "this user may not {action} there; change the owner or the mode of the folder",
    errno.EIO: "the disk or the network behind it failed; look at the host's kernel log",
    errno.ENOTDIR: "something on the way there is a file and no folder; remove it or choose another place",
    errno.EISDIR: "a folder is in the way; remove it or choose another place",
    errno.ENAMETOOLONG: "the name is longer than the filesystem allows; choose a shorter one",
    errno.ELOOP: "its links lead in a circle; choose another place",
}
DONE_THERE = {
    "open": "read or write",
    "list": "read",
    "sweep": "write",
    "create": "write",
    "move": "write",
    "delete": "write",
}
"""What a user who may not do something lacks the right to."""
MOST_NAME = 200
"""Bytes of a name that its temporary file repeats; filesystems allow 255 bytes."""
ROLES = ("teacher", "student")
DONE = "done"
"""The phase of a heartbeat that says goodbye."""
COMMIT = "COMMIT"
"""The file that makes a checkpoint whole: the last one that is written into it."""
CREW = r"[a-z][a-z0-9]{0,7}"
"""A crew's name: a word of file names, and with the run's name one label of a host name."""


def role_in_files(role: str, crew: str = "") -> str:
    """What files call a role: crews of teachers that work side by side are told apart by it, as by nothing else."""
    return f"{role}-{crew}" if crew else role


@dataclass(frozen=True)
class RunDir:
    """Paths below one run directory; making folders is left to whoever writes into them."""

    root: Path

    @property
    def run_json(self) -> Path:
        return self.root / "run.json"

    @property
    def data_json(self) -> Path:
        return self.root / "data.json"

    def hello(self, role: str, rank: int) -> Path:
        return self.root / "ctl" / "hello" / f"{role}-{rank}.json"

    @property
    def beats(self) -> Path:
        return self.root / "ctl" / "beat"

    def beat(self, role: str, rank: int) -> Path:
        return self.beats / f"{role}-{rank}.json"

    def turn(self, role: str) -> Path:
        return self.root / "ctl" / "turn" / f"{role}.json"

    def exit_note(self, role: str) -> Path:
        return self.root / "ctl" / "exit" / f"{role}.json"

    @property
    def stop(self) -> Path:
        return self.root / "ctl" / "stop"

    def queue(self, topic: str) -> Path:
        return self.root / "queue" / topic

    def weights(self, role: str) -> Path:
        return self.root / "weights" / role

    def checkpoints(self, role: str) -> Path:
        return self.root / "checkpoints" / role

    def logs(self, attempt: int) -> Path:
        return self.root / "logs" / f"attempt_{attempt}"

    def launcher(self, name: str) -> Path:
        return self.root / "logs" / name

    @property
    def latest_logs(self) -> Path:
        return self.root / "logs" / "latest"

    def metrics(self, name: str) -> Path:
        return self.root / "metrics" / f"{name}.jsonl"

    def tensorboard(self, role: str) -> Path:
        return self.root / "metrics" / "tensorboard" / role

    def forwarding(self, service: str, role: str, ending: str) -> Path:
        return self.root / "metrics" / f"{service}-{role}.{ending}"

    @property
    def mlflow_json(self) -> Path:
        return self.root / "metrics" / "mlflow.json"

    @property
    def profile(self) -> Path:
        return self.root / "profile"

    def trust(self, role: str, step: int) -> Path:
        return self.root / "trust" / f"{role}-{step}.safetensors"

    @property
    def label(self) -> Path:
        return self.root / "label"

    @property
    def labels(self) -> Path:
        return self.label / "labels.csv"

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def report(self) -> Path:
        return self.root / "report"


def step_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies among a role's."""
    return checkpoints / f"step_{step}"


def whole_steps(checkpoints: Path) -> list[int]:
    """The steps of a role's whole checkpoints, whoever wrote them, rising."""
    names = [match for name in list_names(checkpoints) if (match := re.fullmatch(r"step_([0-9]+)", name))]
    return sorted(int(match[1]) for match in names if (checkpoints / match[0] / COMMIT).is_file())


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader sees all of it or none of it, even after a power cut."""
    with plainly("write", path), beside(path) as aside:
        _write(aside, data)
        take_place(aside, path)


def write_new(path: Path, data: bytes) -> bool:
    """As `write_whole`, unless the name is taken: of several processes only one gets True."""
    with plainly("write", path), beside(path) as aside:
        _write(aside, data)
        sync_file(aside)
        try:
            link_new(aside, path)
        except FileExistsError:
            return False
        sync_folder(path.parent)
    return True


@contextmanager
def beside(path: Path, ending: str = ".tmp") -> Iterator[Path]:
    """A hidden name beside `path` to write a file under, which is gone afterwards whatever happens: finished, the file
    takes its place first (`take_place`)."""
    aside = aside_of(path, ending)
    try:
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def take_place(aside: Path, path: Path, durable: bool = True) -> None:
    """Give the finished file `aside` the name `path`, in one move.

    Its content is on disk before it has the name. The name itself is on disk only where it must be `durable`.
    """
    sync_file(aside)
    os.replace(aside, path)
    if durable:
        sync_folder(path.parent)


def link_new(aside: Path, target: Path) -> None:
    """Give the finished file `aside` the name `target`; FileExistsError where that is taken.

    link() refuses a taken name on every filesystem with hard links, where rename() would overwrite. Without hard links
    (some FUSE and SMB mounts) an exclusive hidden claim file stands guard over a rename instead.
    """
    try:
        os.link(aside, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    else:
        return
    claim = claim_of(target)
    os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660))
    try:
        os.rename(aside, target)
    except OSError:
        claim.unlink(missing_ok=True)
        raise


def claim_of(target: Path) -> Path:
    """The file that claims the name of `target` where there are no hard links."""
    return target.with_name(f".claim-{target.name}")


def make_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it, durably: a new name is only in its parent's own data until then."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_file(path: Path) -> None:
    """Have the content of a file that was written and closed on disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def list_names(folder: Path) -> list[str]:
    """What is in `folder`; nothing where it was not made yet."""
    with plainly("list", folder):
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a rename is only in the folder's own data until then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def plainly(action: str, place: Path | str) -> Iterator[None]:
    """Turn an OSError into one sentence with the remedy; `action` is read, write, list, move or delete."""
    try:
        yield
    except OSError as error:
        raise in_plain_words(action, place, error) from error


def in_plain_words(action: str, place: Path | str, error: OSError) -> ExchangeError:
    """What went wrong, and the remedy. `action` is open where nobody knows what was done."""
    number = error.errno or 0
    remedy = REMEDIES.get(number, os.strerror(number)).format(action=DONE_THERE.get(action, action))
    kind = DiskFull if number in NO_ROOM else ExchangeError
    return kind(f"Cannot {action} {place}: {remedy}.")


def aside_of(path: Path, ending: str = ".tmp") -> Path:
    """A hidden name beside `path` that nobody else has. It is drawn: in containers every process may have the number 1."""
    return path.with_name(f".{shorten_name(path.name, MOST_NAME)}.{uuid.uuid4().hex}{ending}")


def shorten_name(name: str, most: int) -> str:
    """At most so many bytes of a name, in whole characters: half of one makes a name that many libraries refuse."""
    return os.fsencode(name)[:most].decode("utf-8", "ignore")


def _write(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    path.write_bytes(data)
