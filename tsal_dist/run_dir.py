"""Every path of a run, in one place. The layout is drawn here and nowhere else.

run.json                        resolved config, run id, seeds, fingerprints; written once
ctl/hello/<role>-<rank>.json    handshake: each role must see the other's nonce
ctl/beat/<role>-<rank>.json     heartbeat, judged by change on the reader's clock
ctl/turn/<role>.json            in lockstep: what the student asks for, and the teacher's answer
ctl/exit/<role>.json            how an attempt of a role ended, for its launcher; its rank 0's last act
ctl/stop                        why the run ends; written by the student's rank 0 alone
queue/<topic>/                  pseudo-labels and feedback; see the protocol beside tsal_dist.pseudo
weights/<role>/v<step>/         published model versions, each whole
checkpoints/<role>/step_<n>/    everything a role needs to go on; COMMIT is written last
logs/attempt_<n>/               one log file per rank of an attempt; `latest` points at the newest
metrics/<role>.jsonl            one line per logged step
trust/<role>-<step>.safetensors what the scores of these weights mean, measured on held-out frames
code/<digest>/                  what a job that was submitted with --snapshot runs
report/                         what evaluation and the report leave for a person
"""

import os
from dataclasses import dataclass
from pathlib import Path

ROLES = ("teacher", "student")
TOPICS = ("labels", "feedback")


@dataclass(frozen=True)
class RunDir:
    """Paths below one run directory; making folders is left to whoever writes into them."""

    root: Path

    @property
    def run_json(self) -> Path:
        return self.root / "run.json"

    def hello(self, role: str, rank: int) -> Path:
        return self.root / "ctl" / "hello" / f"{role}-{rank}.json"

    def beat(self, role: str, rank: int) -> Path:
        return self.root / "ctl" / "beat" / f"{role}-{rank}.json"

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

    @property
    def latest_logs(self) -> Path:
        return self.root / "logs" / "latest"

    def metrics(self, name: str) -> Path:
        return self.root / "metrics" / f"{name}.jsonl"

    def trust(self, role: str, step: int) -> Path:
        return self.root / "trust" / f"{role}-{step}.safetensors"

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def report(self) -> Path:
        return self.root / "report"


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that a reader sees all of it or none of it, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a rename is only in the folder's own data until then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
