"""What is made of a run is made from any folder: the shards that it names are where it was started."""

import shutil

import numpy as np
import pytest

from tools import label, suggest
from tsal_dist import adapt, distill, predict
from tsal_dist.config import load_config
from tsal_dist.data.shard_set import open_cached
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference import held_out, trained
from tsal_dist.inference.held_out import open_if_there, open_of_run
from tsal_dist.inference.trained import Trained
from tsal_dist.label.tasks import open_footage
from tsal_dist.models.detectors import build_detector
from tsal_dist.run import Origin, load_run, open_run
from tsal_dist.runs.labelled_points import learn_fitting, learn_fitting_of
from tsal_dist.runs.open_data import open_data, refuse_known_footage

RUN = "../project/runs/mine"
SETTINGS = (
    "run.name=mine",
    "model.detector=lite",
    "model.crop_px=32",
    "data.labelled=shards/train",
    "data.unlabelled=shards/train",
)


@pytest.fixture
def here(faces, tmp_path, monkeypatch):
    """A folder that is not the one in which the run `mine` was started: its shards lie there."""
    shutil.copytree(faces.train, tmp_path / "project" / "shards" / "train")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    config = load_config([], SETTINGS)
    open_run(config, "new")
    net = Trained(build_detector("lite", 68).eval(), config, "mine student step 8", 8)
    monkeypatch.setattr(trained, "load_trained", lambda *words: net)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_frames_are_suggested_and_labelled(here):
    assert suggest.main([RUN, "--frames", "2"]) == 0
    desk, _ = label._desk_of_run(label.build_parser().parse_args([RUN]))
    assert len(desk.tasks) == 2


def test_labels_are_read_for_companions(here):
    words = ["--run", RUN, "--companions", "--video", "v.mp4", "--table", "t.csv"]
    args = predict.build_parser().parse_args(words)
    found = predict._opening(args).decoding.fitting.known
    run = load_run(RUN)
    shards = open_cached([str(here.parent / "project/shards/train")], run.config.data)
    np.testing.assert_array_equal(found.offset_R, learn_fitting(run.config, shards).known.offset_R)


def test_it_is_adapted_and_distilled(here, faces):
    there = str(here.parent / "project/shards/train")
    words = adapt.build_parser().parse_intermixed_args([RUN, "--footage", faces.held_out])
    assert adapt.adapted(words).data.labelled == (there, faces.held_out)
    config = distill.distilled(distill.build_parser().parse_intermixed_args([RUN]))
    assert (config.data.labelled, config.data.unlabelled) == ((there,), (there,))


def test_footage_that_its_student_has_seen_is_not_held_out(here, faces, caplog):
    """Before, it was not known: the shards were looked for where the new run is started."""
    words = (f"data.labelled={faces.held_out}", f"data.unlabelled={faces.held_out}")
    begun = load_config([], ["run.name=new", *words, f"data.validation={faces.train}", "model.detector=lite"])
    source = load_run(RUN)
    with pytest.raises(ConfigError, match="both hold the video"):
        refuse_known_footage(open_data(begun), Origin(str(here.parent / "project/runs/mine"), source.id, 8))
    assert "is not known" not in caplog.text


def test_what_is_typed_begins_where_it_is_typed(here):
    """Shards of the same name lie in the run's folder, and are not those that were meant."""
    with pytest.raises(DataError, match=r"shards/train/manifest\.json does not exist"):
        open_footage(here, load_run(RUN).config, ["shards/train"])


def test_shards_that_are_gone_are_named_or_passed_over(here):
    folder, config = here.parent / "project/runs/mine", load_run(RUN).config
    assert len(open_if_there(folder, config, "labelled").manifests) == 1
    assert open_if_there(folder, config, "validation") is None, "it names none"
    shutil.rmtree(here.parent / "project/shards")
    assert open_if_there(folder, config, "labelled") is None
    with pytest.raises(ConfigError, match=r"^data\.unlabelled names 'shards/train'.*run was started in"):
        open_footage(folder, config, [])
    with pytest.raises(ConfigError, match=r"^--companions: data\.labelled names 'shards/train'"):
        learn_fitting_of(folder, config)


def test_its_cache_is_used(here, monkeypatch):
    kept = []
    monkeypatch.setattr(
        held_out, "open_cached", lambda urls, data: kept.append((data.cache_dir, data.cache_gb))
    )
    config = load_config([], [*SETTINGS, "data.cache_dir=/scratch", "data.cache_gb=3"])
    open_of_run(here.parent / "project/runs/mine", config, "labelled")
    assert kept == [("/scratch", 3)]
