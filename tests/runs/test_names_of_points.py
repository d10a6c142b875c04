"""Points are told by their order: where a run and the shards it meets name them in different orders, that is refused."""

import json

import pytest

from tests.pack.footage import make_image
from tests.pack.packing import pack_all
from tsal_dist.config import load_config
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.evaluate import main as evaluate
from tsal_dist.insight.measured import measure
from tsal_dist.insight.report import build_report
from tsal_dist.run import load_run, open_run
from tsal_dist.runs.open_data import open_data

NAMED, TURNED, UNNAMED = ("nose", "tail"), ("tail", "nose"), ("p0", "p1")
DIFFER = r"calls a landmark 'nose' that .* calls 'tail': each would be taken for another one\. Bring the labels into that order"


def pack_points(folder, names, split="val"):
    """A labelled picture."""
    folder.mkdir(parents=True, exist_ok=True)
    make_image(folder / f"{split}.png")
    head = ",".join(f"{name}{'' if name in UNNAMED else '_'}{axis}" for name in names for axis in "xy")
    (folder / f"{split}.csv").write_text(f"path,{head}\n{split}.png,10,10,30,30\n")
    pack_all(folder, lists=[folder / f"{split}.csv"], split=split, box="full")
    return str(folder / split)


def config_of(folder, names, *settings):
    points = ["model.num_points=2", f"model.layout.names={json.dumps(names)}", "model.detector=lite"]
    return load_config([], [*points, "method.name=supervised", f"run.dir={folder}", *settings])


def make_run(folder, names):
    """One that was begun and has saved nothing."""
    open_run(config_of(folder, names), "new")
    return str(folder)


@pytest.mark.parametrize("key", ["labelled", "validation"])
def test_a_run_does_not_open_shards_of_another_order(tmp_path, key):
    mine = pack_points(tmp_path / "mine", TURNED, "train")
    other = pack_points(tmp_path / "other", NAMED)
    for names in (TURNED, ()):
        held_out = pack_points(tmp_path / f"fits-{len(names)}", names or UNNAMED)
        data = [f"data.labelled={mine}", f"data.validation={held_out}"]
        assert open_data(config_of(tmp_path / "run", TURNED, *data)).validation
    wrong = config_of(tmp_path / "run", TURNED, *data, f"data.{key}={other}")
    with pytest.raises(ConfigError, match=rf"data\.{key} {DIFFER}"):
        open_data(wrong)


def test_a_run_is_not_measured_on_shards_of_another_order(tmp_path):
    run, shards = make_run(tmp_path / "run", TURNED), pack_points(tmp_path, NAMED)
    with pytest.raises(ConfigError, match=DIFFER):
        evaluate(["--run", run, "--shards", shards])
    with pytest.raises(ConfigError, match=DIFFER):
        measure("run", load_run(run), open_shards([shards]))


def test_runs_of_two_orders_are_not_compared(tmp_path):
    """Whatever the shards say."""
    shards = pack_points(tmp_path, UNNAMED)
    runs = [make_run(tmp_path / f"run-{names[0]}", names) for names in (NAMED, TURNED)]
    with pytest.raises(
        ConfigError, match="run-nose calls a landmark 'nose' that .*run-tail calls 'tail': .* one by one"
    ):
        evaluate(["--run", *runs, "--shards", shards])
    with pytest.raises(ConfigError, match="run-nose calls a landmark 'nose' that run-tail calls 'tail'"):
        build_report([tmp_path / "run-nose", tmp_path / "run-tail"], [shards])
