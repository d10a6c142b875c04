"""Data never becomes code: nothing that is read from disk or network can run, and nothing here could make it run."""

import ast
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_house import ROOT, imports
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.models.pretrained import load_pretrained
from tsal_dist.pack.foreign import index_folder
from tsal_dist.runs.named_shards import open_named

SOURCES = sorted(
    path for folder in ("tsal_dist", "launch", "tools") for path in (ROOT / folder).rglob("*.py")
)
UNPICKLERS = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve", "_pickle"}
ONLY_A_NAME = {"pickle.UnpicklingError"}
"""The error that torch raises for a file that is no plain tensors: catching it unpickles nothing."""
RUNNERS = {"eval", "exec", "compile", "__import__"}
PICKLING_COLLECTIVES = (
    "all_gather_object", "broadcast_object_list", "gather_object", "recv_object_list", "scatter_object_list",
    "send_object_list",
)  # fmt: skip
READERS = {
    # The call, and the word that must stand in it.
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords}


def faults(tree):
    """Calls that could run what they are given."""
    for name, words in calls(tree):
        last = name.rpartition(".")[2]
        if name in RUNNERS or last in PICKLING_COLLECTIVES or last in ("read_pickle", "to_pickle"):
            yield name
        if name in ("os.system", "os.popen", "yaml.load", "yaml.unsafe_load"):
            yield name
        if name in READERS:
            word, value = READERS[name]
            given = words.get(word)
            if not (isinstance(given, ast.Constant) and given.value is value):
                yield f"{name} without {word}={value}"
        shell = words.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield f"{name} through a shell"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_could_run_what_it_reads(path):
    pickles = {name for name in imports(path) if name.split(".")[0] in UNPICKLERS}
    assert pickles <= ONLY_A_NAME
    assert list(faults(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "eval(text)", "os.system(text)",
        "dist.all_gather_object(out, x)", "subprocess.run(text, shell=True)", "pandas.read_pickle(path)",
    ],
)  # fmt: skip
def test_the_rule_sees_a_planted_fault(line):
    assert list(faults(ast.parse(line)))


class Exploit:
    """What an attacker pickles: unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.fixture
def exploit(tmp_path):
    """The bytes of a pickle that leaves a mark, and a check that it did not."""
    import pickle

    mark = tmp_path / "was_run"
    data = pickle.dumps(Exploit(mark), protocol=2)  # torch warns of later ones
    pickle.loads(data)
    assert mark.exists(), "the exploit works where somebody unpickles it"
    mark.unlink()
    yield data, Exploit(mark)
    assert not mark.exists(), "a pickle was run"


def test_weights_that_are_a_program_are_refused(exploit, tmp_path):
    data, thing = exploit
    torch.save({"weight": torch.ones(1), "more": thing}, tmp_path / "w.pt")
    (tmp_path / "bare.pt").write_bytes(data)
    for name in ("w.pt", "bare.pt"):
        with pytest.raises(ConfigError, match=f"{name} cannot be read as plain tensors"):
            load_pretrained(torch.nn.Linear(1, 1), tmp_path / name, ("weight",))


def test_members_of_a_foreign_tar_are_never_unpickled(exploit, tmp_path):
    """webdataset has decoders for such members; none of them is in our way."""
    import cv2

    data, thing = exploit
    buffer = io.BytesIO()
    np.save(buffer, np.array([thing], object), allow_pickle=True)
    jpg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    page = json.dumps({"points": [[1, 2]], "box": [1, 1, 6, 6]}).encode()
    members = [
        ("a.jpg", jpg),
        ("a.json", page),
        *((f"a.{kind}", data) for kind in ("pyd", "pickle", "pth", "cls")),
    ]
    members += [("b.jpg", jpg), ("b.npy", buffer.getvalue())]
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    manifest = index_folder(str(tmp_path))
    assert (manifest.frames, manifest.labelled) == (2, 1), "what b's npy holds is no label"


@pytest.mark.parametrize("url", ["pipe:touch was_run", "pipe:cat t.tar | tee was_run"])
def test_a_shard_that_is_a_command_is_no_folder(url, tmp_path, monkeypatch):
    """webdataset's own opener would run it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        open_named("data.labelled", [url], load_config())
    assert list(tmp_path.iterdir()) == []
