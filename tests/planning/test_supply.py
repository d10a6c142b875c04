"""Starving devices: the arithmetic, by rates that are given, and the shipped configs held against it."""

import json
from pathlib import Path

import pytest
import torch

from tests.roles.short_runs import OVERRIDES, pack_faces
from tsal_dist.config import load_config
from tsal_dist.config.run import RunConfig
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.planning import rates as rates_module
from tsal_dist.planning.demand import describe_demand
from tsal_dist.planning.rates import measure_rates
from tsal_dist.planning.supply import Rates, check_supplies, find_supplies, load_rates
from tsal_dist.train import main

ROOT = Path(__file__).parents[2]
CROPPED = 844
"""Frames per second that a core reads of face crops, as measured once; of 720p frames it was 240."""


def rates(learn_per_s, label_per_s, read_per_s=CROPPED, flow_per_s=0.0):
    flow_s = 1 / flow_per_s if flow_per_s else 0.0
    return Rates(1 / read_per_s, flow_s, 1 / learn_per_s, 1 / label_per_s, "a device by arithmetic")


def config_of(*overrides):
    files = [ROOT / "configs" / "wflw.toml"]
    return load_config(files, overrides)


def test_supply_is_what_cores_give_over_what_a_device_could_use():
    config = config_of(
        "data.workers=4", "train.labelled_batch=30", "train.unlabelled_batch=10", "data.clip_frames=2"
    )
    found = find_supplies(config, rates(4000, 10000, read_per_s=500), students=3, teachers=1)
    labelled, pseudo, clips = found
    assert labelled.wanted_per_s == pytest.approx(3000)
    assert labelled.share == pytest.approx(2000 / 3000)
    assert pseudo.share == pytest.approx(2000 / 1000)
    # Three students train on 3000 labels per second, each of them twice: less than the teacher could give.
    assert clips.wanted_per_s == pytest.approx(1500)


def test_flow_of_one_core_starves_a_teacher_and_a_network_does_not():
    slow = rates(12200, 18400, flow_per_s=65)
    with pytest.raises(ConfigError, match=r"starves its devices: a teacher could use .* flows of .*kind=pwc"):
        check_supplies(find_supplies(config_of("model.tracker.kind=dis"), slow, 3, 1))
    assert [one.what for one in find_supplies(config_of(), rates(12200, 18400), 3, 1)] == [
        "labelled frames",
        "pseudo-labelled frames",
        "frames to label",
    ]


def test_clips_of_one_frame_have_no_neighbours_to_track():
    config = config_of("model.tracker.kind=dis", "data.clip_frames=1")
    words = check_supplies(find_supplies(config, rates(100, 100, flow_per_s=65), 3, 1))
    assert not any("flows" in word for word in words)


def test_between_enough_and_too_little_there_is_a_warning():
    config = config_of("method.name=supervised", "data.workers=1")
    words = check_supplies(find_supplies(config, rates(1000, 1000, read_per_s=700), 1, 0))
    assert len(words) == 1
    assert "(70%)" in words[0]
    assert check_supplies(find_supplies(config, rates(1000, 1000, read_per_s=950), 1, 0)) == []


@pytest.mark.parametrize(
    ("name", "students", "teachers", "learn_per_s", "label_per_s"),
    [
        ("wflw", 3, 1, 12200, 18400),
        ("300w_300vw", 2, 2, 2030, 3000),
        ("aflw", 3, 1, 2030, 3000),
        ("gpu8", 6, 2, 12200, 18400),
        ("gpu2x8", 12, 4, 12200, 18400),
    ],
)
def test_shipped_configs_are_not_refused_on_the_fastest_device_we_did_arithmetic_for(
    name, students, teachers, learn_per_s, label_per_s
):
    config = load_config([ROOT / "configs" / f"{name}.toml"])
    assert config.model.tracker.kind == "pwc"
    check_supplies(find_supplies(config, rates(learn_per_s, label_per_s), students, teachers))


def test_demand_counts_every_reader():
    config = config_of("data.workers=4", "model.tracker.kind=dis", "model.tracker.threads=3")
    demand = describe_demand(config)
    assert (demand["student"]["cores"], demand["teacher"]["cores"]) == (9, 16)
    assert demand["student"]["read_bytes_per_step"] is None  # the shards are not here
    alone = describe_demand(config_of("method.name=supervised"))
    assert list(alone) == ["student"]
    assert alone["student"]["reader_processes"] == 6


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return pack_faces(tmp_path_factory.mktemp("faces")).train


def words_of(faces):
    return [*OVERRIDES, f"data.labelled={faces}", f"data.unlabelled={faces}"]


def test_rates_are_measured_and_a_dry_run_uses_them(faces, tmp_path, capsys):
    config: RunConfig = load_config([], words_of(faces))
    found = measure_rates(config, open_shards([str(faces)]), torch.device("cpu"), seconds=0.05)
    assert min(found.read_s, found.flow_s, found.learn_s, found.label_s) > 0
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(found.to_json()))
    assert load_rates(str(file)) == found
    words = [*words_of(faces), "runtime.topology=inline", "--dry-run", "--rates", str(file)]
    assert main(words) == 0
    page = json.loads(capsys.readouterr().out)
    assert {one["role"] for one in page["supply"]} == {"student"}
    assert page["per_rank"]["student"]["read_bytes_per_step"] > 0
    starved = found.to_json() | {"learn_s": found.read_s / 100}
    file.write_text(json.dumps(starved))
    with pytest.raises(ConfigError, match="starves"):
        main(words)


def test_pixels_are_read_as_in_training_whatever_is_mirrored(monkeypatch):
    """An animal, whose three points no face has: the sides in their names say who changes places."""
    names = "['left_ear', 'nose', 'right_ear']"
    config = load_config([], ["model.num_points=3", "model.layout.flip=names", f"model.layout.names={names}"])
    read_as = []

    def open_reader(shards, view):
        read_as.append(view)
        raise InterruptedError

    monkeypatch.setattr(rates_module, "FrameReader", open_reader)
    with pytest.raises(InterruptedError):
        measure_rates(config, None, torch.device("cpu"))
    read_as[0].check(3)
    assert read_as[0].mirror == (2, 1, 0)
    assert read_as[0].augment.flip_prob == 0.5


@pytest.mark.parametrize("text", ["[]", "{}", '{"read_s": 1}', "no"])
def test_damaged_rates_are_refused_with_the_way_out(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ConfigError, match=r"tsal plan --rates"):
        load_rates(str(tmp_path / "r.json"))


def test_rates_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rates(str(tmp_path / "none.json"))
