"""A foreign set trains with its own settings, and nobody has to say them."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from launch.local import open_chosen
from tests.pack.footage import make_image, make_video
from tests.pack.packing import pack_all
from tests.ranks import run_ranks
from tests.roles.short_runs import OVERRIDES, metrics, train_rank
from tsal_dist import adapt
from tsal_dist.config import load_config
from tsal_dist.config.load import build_config, override
from tsal_dist.errors import ConfigError
from tsal_dist.run import open_run
from tsal_dist.runs.follow_shards import follow_shards

NAMES = ("left_ear", "right_ear", "nose", "tail", "belly")
SHAPE_K2 = np.array([[-8.0, -6], [8, -6], [0, -12], [0, 12], [2, 0]])


def turned(degrees):
    angle = np.radians(degrees)
    return SHAPE_K2 @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def pack_animals(folder, angles, names=NAMES, size=(64, 48), boxes="", **options):
    """One still per angle, the animal in the middle of it."""
    lines = ["path," + boxes.partition("|")[0] + ",".join(f"{name}_x,{name}_y" for name in names)]
    for number, degrees in enumerate(angles):
        make_image(folder / "raw" / f"{number}.png", size, seed=number)
        points_K2 = turned(degrees)[: len(names)] + (size[0] / 2, size[1] / 2)
        lines.append(
            f"{number}.png,{boxes.partition('|')[2]}"
            + ",".join(f"{value:.2f}" for value in points_K2.ravel())
        )
    table = folder / "raw" / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return pack_all(folder / "shards", lists=[table], **options).manifest.url


def test_settings_that_nobody_said_follow_from_the_shards(tmp_path):
    url = pack_animals(tmp_path, range(-10, 11, 4))
    config = follow_shards(load_config([], [f"data.labelled={url}"]))
    assert config.model.num_points == 5
    assert config.model.layout.names == NAMES
    assert config.model.layout.flip == "names"
    assert config.data.normalizer == "box_diagonal"
    assert config.data.hard.flip_prob == 0.5
    assert config.data.hard.rotate_deg == 20
    assert config.data.box_expand == 0.2
    assert config.model.crop_px == 96, "an animal of 24 pixels is not blown up to 256"
    assert config.train.loss.sigma_px == 4.0
    assert config.train.labelled_batch == 6


def test_without_held_out_frames_no_gate_judges_by_the_labels_that_are_learnt(tmp_path):
    url = pack_animals(tmp_path, range(6))
    words = [f"data.labelled={url}"]
    assert not follow_shards(load_config([], words)).train.gate.enabled
    assert follow_shards(load_config([], [*words, "train.gate.enabled=true"])).train.gate.enabled
    assert follow_shards(load_config([], [*words, "data.validation=held-out"])).train.gate.enabled


def test_what_is_said_stays(tmp_path):
    url = pack_animals(tmp_path, range(6))
    said = [
        "model.crop_px=256",
        "data.normalizer=face_size",
        "data.hard.flip_prob=0.25",
        "train.labelled_batch=16",
    ]
    config = follow_shards(load_config([], [f"data.labelled={url}", *said]))
    assert (config.model.crop_px, config.data.normalizer) == (256, "face_size")
    assert (config.data.hard.flip_prob, config.train.labelled_batch) == (0.25, 16)
    assert config.train.loss.sigma_px == 6.0, "as wide as the crop that was said wants it"
    assert config.model.num_points == 5


def test_points_without_sides_are_never_mirrored(tmp_path):
    url = pack_animals(tmp_path, range(6), names=("a", "b", "c", "d", "e"))
    config = follow_shards(load_config([], [f"data.labelled={url}"]))
    assert config.model.layout.flip == "none"
    assert config.data.hard.flip_prob == config.data.easy.flip_prob == 0.0


def test_animals_seen_from_above_may_turn_all_the_way(tmp_path):
    url = pack_animals(tmp_path, range(0, 360, 30))
    assert follow_shards(load_config([], [f"data.labelled={url}"])).data.hard.rotate_deg == 180


def test_a_box_that_is_the_whole_picture_gets_no_margin(tmp_path):
    url = pack_animals(tmp_path, range(6), size=(160, 120), box="full")
    config = follow_shards(load_config([], [f"data.labelled={url}"]))
    assert config.data.box_expand == 0
    assert config.model.crop_px == 160
    assert config.data.beyond_points == pytest.approx((160 / 24 - 1) / 2, abs=0.15), (
        "24 px long, and it turns a little"
    )


def test_boxes_of_the_landmarks_reach_beyond_none(tmp_path):
    url = pack_animals(tmp_path, range(6))
    assert follow_shards(load_config([], [f"data.labelled={url}"])).data.beyond_points == 0


def test_points_outside_of_their_boxes_widen_the_crop(tmp_path):
    url = pack_animals(tmp_path, [0] * 6, boxes="x1,y1,x2,y2,|27,19,37,29,")
    config = follow_shards(load_config([], [f"data.labelled={url}"]))
    assert config.data.box_expand == pytest.approx(0.75), "12 px from the middle, 7 beyond a box of 10"


def test_faces_stay_what_they_were(tmp_path):
    from tests.roles.short_runs import pack_faces

    faces = pack_faces(tmp_path, videos=3, frames=4)
    before = load_config([], [f"data.labelled={faces.train}", "model.crop_px=96"])
    after = follow_shards(before)
    assert after.model == before.model
    assert after.data.hard == before.data.hard
    assert after.data.normalizer == "inter_ocular"


def test_without_shards_nothing_changes(tmp_path):
    config = load_config([], [f"data.labelled={tmp_path}/none"])
    assert follow_shards(config) == config
    assert follow_shards(load_config()) == load_config()


def test_what_was_not_said_stays_unsaid_through_an_override_and_not_through_a_file(tmp_path):
    url = pack_animals(tmp_path, range(6))
    unsaid = override(load_config([], [f"data.labelled={url}"]), "train.seed=3")
    assert follow_shards(unsaid).model.num_points == 5
    written = build_config(load_config([], [f"data.labelled={url}"]).model_dump(mode="json"))
    assert follow_shards(written).model.num_points == 68, "run.json holds what a run was opened with"


def test_a_launcher_writes_down_what_its_processes_find(tmp_path):
    words = [f"data.labelled={pack_animals(tmp_path, range(6))}", f"run.dir={tmp_path / 'run'}"]
    config = load_config([], words)
    open_chosen(config, Namespace(crew="", clean=False, resume=False))
    assert open_run(follow_shards(config), "resume").config.model.num_points == 5
    open_chosen(config, Namespace(crew="", clean=False, resume=True))
    open_chosen(config, Namespace(crew="night", clean=False, resume=False))


def test_the_tars_of_others_say_it_at_the_first_start_too(tmp_path):
    ours, theirs = Path(pack_animals(tmp_path, range(6))), tmp_path / "theirs"
    theirs.mkdir()
    for tar in ours.glob("*.tar"):
        shutil.copy(tar, theirs)
    assert follow_shards(load_config([], [f"data.labelled={theirs}"])).model.num_points == 5


def test_another_name_for_a_point_is_no_other_layout_of_the_same_stream(tmp_path):
    one = pack_animals(tmp_path / "one", range(4))
    other = pack_animals(
        tmp_path / "other", range(4), names=("left_ear", "right_ear", "tail", "nose", "belly")
    )
    from tsal_dist.data.shard_set import open_shards

    with pytest.raises(ConfigError, match=r"calls a landmark 'nose' that .* calls 'tail'"):
        open_shards([one, other])


def test_a_foreign_set_trains_without_an_override_of_its_own(tmp_path):
    """Every override here is about the size of the run, none about the data."""
    labelled = pack_animals(tmp_path, range(-10, 11, 2))
    make_video(tmp_path / "videos" / "v.avi", frames=8)
    unlabelled = pack_all(tmp_path / "shards", [tmp_path / "videos"], split="clips", box="full").manifest.url
    words = [word for word in OVERRIDES if "sigma" not in word]
    words += [f"data.labelled={labelled}", f"data.unlabelled={unlabelled}", f"run.dir={tmp_path / 'run'}"]
    assert run_ranks(train_rank, 1, words, group=False) == [0]
    written = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert written["model"]["num_points"] == 5
    assert written["model"]["layout"]["names"] == list(NAMES)
    assert written["train"]["loss"]["sigma_px"] == 4.0
    assert run_ranks(train_rank, 1, ["--resume", *words], group=False) == [0], "found again alike"


def pack_video(folder):
    make_video(folder / "videos" / "v.avi", frames=8)
    return pack_all(folder / "shards", [folder / "videos"], split="clips", box="full").manifest.url


def test_still_pictures_are_clips_of_one(tmp_path):
    """A clip of four of them would be the same picture four times."""
    stills, video = pack_animals(tmp_path, range(6)), pack_video(tmp_path)
    words = [f"data.labelled={stills}"]
    assert follow_shards(load_config([], [*words, f"data.unlabelled={stills}"])).data.clip_frames == 1
    assert follow_shards(load_config([], [*words, f"data.unlabelled={video}"])).data.clip_frames == 4
    both = f"data.unlabelled=['{stills}', '{video}']"
    assert follow_shards(load_config([], [*words, both])).data.clip_frames == 4
    said = ["data.clip_frames=2", f"data.unlabelled={stills}"]
    assert follow_shards(load_config([], [*words, *said])).data.clip_frames == 2
    assert follow_shards(load_config([], words)).data.clip_frames == 4


def test_clips_are_as_the_footage_has_them_that_a_run_is_adapted_to(tmp_path):
    stills, video = pack_animals(tmp_path, range(6)), pack_video(tmp_path)
    for footage, other, usual in ((stills, video, 4), (video, stills, 1)):
        words = [f"data.labelled={stills}", f"data.unlabelled={footage}", f"run.dir={tmp_path / str(usual)}"]
        run = open_run(follow_shards(load_config([], words)), "new")
        argv = [str(run.dir.root), "--footage", other]
        config = adapt.adapted(adapt.build_parser().parse_intermixed_args(argv))
        assert config.data.clip_frames == usual


@pytest.mark.slow
@pytest.mark.ranks
@pytest.mark.parametrize(
    ("method", "tracker"),
    [("tsal", "dis"), ("tsal", "pwc"), ("companions", "dis"), ("teacher_reviewer_student", "dis")],
)
def test_pictures_without_neighbours_are_trained_on(method, tracker, tmp_path):
    url = pack_animals(tmp_path, range(-10, 11, 2), labelled=0.5)
    words = [word for word in OVERRIDES if "sigma" not in word]
    words += [f"data.labelled={url}", f"data.unlabelled={url}", f"run.dir={tmp_path / 'run'}"]
    words += [f"method.name={method}", f"model.tracker.kind={tracker}", "model.crop_px=64"]
    assert run_ranks(train_rank, 1, words, group=False) == [0]
    lines = metrics(tmp_path / "run", "student")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["data"]["clip_frames"] == 1
    assert lines[-1]["unlabelled/used_mean"] > 0
