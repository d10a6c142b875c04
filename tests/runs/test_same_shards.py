"""Every process of a run reads the same shards, now and after every stop, or it says so and trains on nothing."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.data.made_shards import write_folder
from tests.fakes_rows import Scene, make_batch, small_schema
from tests.ranks import run_ranks
from tests.roles.short_runs import pack_faces, train, train_rank, words
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import build_reader_pool
from tsal_dist.data.request import ClipRequest, ReadAhead
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError, DataError, StaleRun
from tsal_dist.exchange.fence import Handshake
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.consumer import Delivery
from tsal_dist.pseudo.step_plan import Plan, RowRange
from tsal_dist.pseudo.topic import inspect_topic, meta_name, open_topic
from tsal_dist.recipes.api import Source
from tsal_dist.recipes.frames import Answers
from tsal_dist.records import FrameRef
from tsal_dist.roles import label_feed
from tsal_dist.roles.batches import leave_view
from tsal_dist.roles.label_feed import LabelFeed
from tsal_dist.run import pin_shards
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.open_data import Shards

FRAMES = 3
ASKED = (Source("heatmap"),)
HALF_LABELLED = set(range(0, 12, 2))


def test_the_first_process_says_which_shards_and_the_others_must_have_them(tmp_path):
    mine = {"labelled": "a" * 64, "unlabelled": "b" * 64, "validation": ""}
    pin_shards(RunDir(tmp_path), mine)
    pin_shards(RunDir(tmp_path), mine)
    with pytest.raises(
        ConfigError, match=r"data\.unlabelled holds other shards .* was bbbbbbbbbbbb and here it is cc"
    ):
        pin_shards(RunDir(tmp_path), mine | {"unlabelled": "c" * 64})
    with pytest.raises(ConfigError, match=r"data\.validation .* was none and here it is dd"):
        pin_shards(RunDir(tmp_path), mine | {"validation": "d" * 64})
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(ConfigError, match=r"data\.json is damaged"):
        pin_shards(RunDir(tmp_path), mine)


def test_a_set_that_is_not_there_has_no_fingerprint(tmp_path):
    shards = open_shards([write_folder(tmp_path, [[(4, {0}, "video")]])])
    assert Shards(shards, None, None).fingerprints == {
        "labelled": shards.fingerprint,
        "unlabelled": "",
        "validation": "",
    }


def test_a_queue_about_other_clips_is_refused():
    store = MemoryStore()
    open_topic(store, small_schema(), "run", clips="mine")
    assert inspect_topic(store).clips == "mine"
    assert open_topic(store, small_schema(), "run", clips="mine").clips == "mine"
    for clips in ("theirs", ""):
        with pytest.raises(StaleRun, match="its labels would lie on other frames"):
            open_topic(store, small_schema(), "run", clips=clips)


def test_a_producer_that_reads_other_clips_is_not_read():
    scene = Scene(MemoryStore())
    producers = [scene.producer(rank) for rank in (0, 1)]
    for producer in producers:
        producer.publish(make_batch(range(8)), 1)
    name = meta_name(producers[1].name)
    meta = json.loads(scene.store.get(name))
    scene.store.replace(name, json.dumps(meta | {"clips": "others"}).encode())
    planner = scene.planner()
    planner.tick()
    assert set(planner.intake.feeds) == {producers[0].name}
    assert "shards others" in planner.intake.refused[producers[1].name]


def test_roles_that_read_other_shards_do_not_meet():
    store = MemoryStore()
    Handshake(store, "teacher", 0, "run", shards={"unlabelled": "a"})
    student = Handshake(store, "student", 0, "run", shards={"unlabelled": "b"})
    with pytest.raises(StaleRun, match=r"teacher 0 reads other shards under data\.unlabelled"):
        student.answer([("teacher", 0)])


def two_versions(tmp_path):
    """Two videos packed twice, the longer one first and last; names, boxes and most frames are alike."""
    first, second = (
        [(12, HALF_LABELLED, "video"), (9, {1}, "video")],
        [(9, {1}, "video"), (12, HALF_LABELLED, "video")],
    )
    return [
        open_shards([write_folder(tmp_path / name, [videos])])
        for name, videos in (("a", first), ("b", second))
    ]


def clips_of(shards, starts):
    view = ViewSettings(32, 1.2, labels=False)
    pool = build_reader_pool(shards, view, ReadAhead(workers=0), 4, FRAMES)
    clips = [
        pool.take(pool.submit(ClipRequest(FrameRef(0, start), FRAMES, 1, sample_id=start)))
        for start in starts
    ]
    pool.close()
    return clips


def feed_of(shards, rows):
    """A student's feed over `shards`, and the plan that gives it `rows`."""
    count = len(rows)
    ones, lags = np.ones(count, np.float32), np.zeros(count, np.int64)
    consumer = SimpleNamespace(
        fetch=lambda plan: Delivery(rows.columns(), ones, lags, lags + 1), close=lambda: None
    )
    pool = build_reader_pool(shards, ViewSettings(32, 1.2, labels=False), ReadAhead(workers=0), 4, FRAMES)
    feed = LabelFeed(
        consumer,
        pool,
        ("heatmap",),
        clip_frames=FRAMES,
        clip_stride=1,
        crop_px=32,
        seed=0,
        mirrored_steps=100,
        device=torch.device("cpu"),
    )
    return feed, Plan(5, 5, ((RowRange("t", 0, 0, count, 1, 4, 1, 1),),))


def label(clips, points=68):
    count = len(clips) * FRAMES
    return leave_view(
        Answers(
            points_NSK2=torch.full((count, 1, points, 2), 12.0),
            score_NSK=torch.ones(count, 1, points),
            valid_NSK=torch.ones(count, 1, points, dtype=torch.bool),
            fb_error_NK=torch.zeros(count, points),
            more={},
        ),
        clips,
        ASKED,
        4,
    )


def test_a_label_is_never_laid_on_another_frame(tmp_path):
    """The last guard, where a label meets pixels: whatever was compared before, a wrong pair is not trained on."""
    ours, packed_again = two_versions(tmp_path)
    rows = label(clips_of(ours, [0, 4, 12]))
    feed, plan = feed_of(ours, rows)
    feed.expect(plan)
    assert len(feed.take(plan).rows) == 3 * FRAMES
    feed, plan = feed_of(packed_again, rows)
    feed.expect(plan)
    with pytest.raises(DataError, match=r"label is about video1 frame 1,.*lies video1 frame 4\."):
        feed.take(plan)


def test_unreadable_pixels_weigh_nothing_and_end_the_run_where_nothing_else_comes(tmp_path, monkeypatch):
    """All unlabelled video gone under the run: some thousand warnings and exit code 0 would hide that nothing is learnt."""
    shards = open_shards([write_folder(tmp_path, [[(12, HALF_LABELLED, "video")]])])
    rows = label(clips_of(shards, [0, 3, 6]))
    tar = tmp_path / "shard-00000.tar"
    whole = tar.read_bytes()
    monkeypatch.setattr(label_feed, "MOST_BAD_IN_A_ROW", 5)

    def taken(times):
        feed, plan = feed_of(shards, rows)
        for _ in range(times):
            feed.expect(plan)
            delivered = feed.take(plan)
        evidence = delivered.pseudo.evidence
        assert torch.equal(evidence.valid_NSK.any((1, 2)), evidence.fresh_N > 0), (
            "whatever a labeller ignores"
        )
        return feed.unreadable, evidence.fresh_N.tolist()

    tar.write_bytes(bytes(len(whole)))
    assert taken(1) == (3, [0.0] * 3 * FRAMES)
    with pytest.raises(DataError, match=r"5 pseudo-labelled clips in a row cannot be read"):
        taken(2)
    tar.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    lost, fresh = taken(4)
    assert 4 <= lost <= 8, "those in between can be read"
    assert set(fresh) == {0.0, 1.0}


@pytest.mark.ranks
@pytest.mark.slow
def test_shards_packed_anew_between_stop_and_resume_are_refused(tmp_path):
    """Under the same path, as after a download of another version: the run does not go on."""
    faces = pack_faces(tmp_path / "faces")
    folder = train(faces, tmp_path / "run", "train.steps=4")
    metrics = (folder / "metrics" / "student.jsonl").read_text()
    shutil.rmtree(tmp_path / "faces")
    pack_faces(tmp_path / "faces", frames=9)
    argv = ["--resume", *words(faces, folder, "train.steps=4")]
    with pytest.raises(AssertionError, match=r"data\.labelled holds other shards than when"):
        run_ranks(train_rank, 1, argv, group=False)
    assert (folder / "metrics" / "student.jsonl").read_text() == metrics
