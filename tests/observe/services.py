"""What tests need to look at what tracking services were told, without any network."""

import contextlib
import importlib
import json
import os
import struct
from pathlib import Path

from tsal_dist.config import load_config
from tsal_dist.run_dir import RunDir

ID = "0123456789abcdef0123456789abcdef"
_BLOCK, _FILE_HEADER, _HEADER = 1 << 15, 7, 7


def make_run(folder: Path, steps: int = 40, **method: object) -> RunDir:
    """A run directory with nothing but its run.json."""
    config = load_config([], [f"train.steps={steps}", "train.burn_in_steps=0", "run.name=demo"]).model_dump(
        mode="json"
    )
    config["method"] |= method
    folder.mkdir(parents=True, exist_ok=True)
    run_dir = RunDir(folder)
    run_dir.run_json.write_text(json.dumps({"id": ID, "version": "0", "config": config}))
    return run_dir


def wandb_records(file: Path) -> list:
    """The records of a W&B offline file: blocks of checksum, length, kind (1 whole; 2, 3, 4 first, middle, last)."""
    Record = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, at, parts, found = file.read_bytes(), _FILE_HEADER, b"", []
    while at + _HEADER <= len(data):
        if _BLOCK - at % _BLOCK < _HEADER:  # too little is left of the block for another one
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):
            found.append(Record.FromString(parts))
            parts = b""
    return found


def wandb_rows(records: list) -> list[dict[str, float]]:
    """What was logged."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]


def alive(process: int) -> bool:
    """Whether this process runs; one that has ended and was not collected does not."""
    with contextlib.suppress(OSError):
        os.waitpid(process, os.WNOHANG)
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
