"""The student says which labels it agrees with least, and the teacher labels those clips again sooner."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.ranks import run_ranks
from tests.roles.short_runs import metrics, short_config, train
from tsal_dist.data.clips import build_clips
from tsal_dist.data.order import EpochOrder
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.pseudo.topic import inspect_topic
from tsal_dist.recipes.api import Task, disagreement
from tsal_dist.recipes.target import Target
from tsal_dist.roles.feedback import WishedClips, Wishes
from tsal_dist.runs.open_data import open_data

STEERED = ("train.priority=0.5", "train.steps=14", "runtime.log.evaluate_every=14")


def test_the_method_may_choose_otherwise():
    """Here whatever the student agrees with most, and some clips never."""
    wishes = Wishes(
        None,
        None,
        rank=0,
        world=1,
        choose=lambda noted: {clip: -score for clip, score in noted.items() if clip != 2},
    )
    wishes.hear([(0, clip, float(score)) for clip, score in ((1, 5), (2, 9), (3, 1), (4, 3))], 0)
    assert wishes.grant(2) == [3, 4]
    assert wishes.grant(9) == [1]


def test_disagreement_is_the_weighted_distance_in_sigmas():
    points = torch.zeros(4, 2, 2)
    target = torch.zeros(4, 2, 2)
    target[0, 0] = torch.tensor([3.0, 4.0])  # 5 px
    target[1, 1] = torch.tensor([0.0, 100.0])
    weight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    task = Task(points.shape[1], 96, 4, 4, 2.0, 2)
    found = disagreement(points, Target(target, weight), task)
    absent = torch.tensor([[True, False]] * 4)
    assert np.isnan(disagreement(points, Target(target, weight, absent_NK=absent), task)).all()
    assert found[0] == pytest.approx(5 / 2 / 2), "a point without weight says nothing"
    assert math.isnan(found[1]), "nor does a clip without any"


def test_a_point_that_counts_nothing_may_be_anything():
    target, weight = torch.tensor([[[3.0, 4.0], [torch.nan, torch.inf]]]), torch.tensor([[1.0, 0.0]])
    found = disagreement(torch.zeros(1, 2, 2), Target(target, weight), Task(2, 96, 4, 4, 2.0, 1))
    assert found == pytest.approx(5 / 2)


def test_the_highest_notes_are_granted_first_and_once():
    wishes = Wishes(None, None, rank=0, world=1)
    wishes.hear([(2, 4, 0.5), (2, 7, 2.0), (2, 1, 0.5)], 2)
    wishes.hear([(4, 4, 3.0)], 4)
    assert wishes.grant(2) == [4, 7], "the last note of a clip holds"
    assert wishes.grant(2) == [1]
    assert wishes.grant(2) == []


def test_notes_count_from_their_step_on():
    """A run that was cut short left notes of steps that its successor has yet to come to."""
    wishes = Wishes(None, None, rank=0, world=1)
    wishes.hear([(4, 7, 2.0), (2, 1, 0.5)], 2)
    assert wishes.grant(9) == [1]
    wishes.hear([], 4)
    assert wishes.grant(9) == [7]


def test_each_rank_grants_its_own_clips():
    first, second = (Wishes(None, None, rank, world=2) for rank in range(2))
    for wishes in (first, second):
        wishes.hear([(2, 4, 0.5), (2, 7, 2.0), (2, 1, 0.5), (2, 2, 9.0)], 2)
    assert (first.grant(9), second.grant(9)) == ([2, 4], [7, 1])


class Usual:
    """Clips 0, 1, 2 and so on, one at a time, around `count` of them."""

    def __init__(self, count=1000):
        self.clips = SimpleNamespace(ref=lambda sample: sample, num_frames=1, stride=1)
        self.next = 0
        self.count = count

    def __next__(self):
        self.next += 1
        return [SimpleNamespace(sample_id=(self.next - 1) % self.count)]

    def state_dict(self):
        return {"epoch": 0, "position": self.next}

    def load_state_dict(self, state):
        self.next = state["position"]


class Pool:
    def submit(self, request):
        return SimpleNamespace(sample_id=request.sample_id)

    def take(self, ticket):
        return ticket


def next_of(stream):
    return [clip.sample_id for clip in next(stream)]


def test_a_clip_with_a_high_score_comes_earlier_and_more_often():
    wishes = Wishes(None, None, rank=0, world=1)
    stream = WishedClips(Usual(), Pool(), wishes, batch=4, most=2)
    seen = [next_of(stream)]
    for _ in range(5):
        # The student trains on what was labelled and finds clip 90 hard each time, every other one easy.
        wishes.hear([(0, 90, 8.0), *((0, sample, 0.1) for sample in seen[-1] if sample != 90)], 0)
        seen.append(next_of(stream))
    assert seen[0] == [0, 1, 2, 3], "without notes, the usual order"
    assert all(batch[0] == 90 for batch in seen[1:])
    assert Counter(sample for batch in seen for sample in batch)[90] == 5
    usual = [sample for batch in seen for sample in batch[-2:]]
    assert usual == sorted(usual), "half of what is labelled keeps to the usual order"


def test_a_clip_that_is_wished_for_and_next_in_order_is_labelled_once():
    wishes = Wishes(None, None, rank=0, world=1)
    stream = WishedClips(Usual(), Pool(), wishes, batch=4, most=2)
    wishes.hear([(0, 1, 8.0)], 0)
    assert next_of(stream) == [1, 0, 2, 3]
    assert next_of(stream) == [4, 5, 6, 7]


def test_where_all_clips_are_wished_for_the_batch_is_full_all_the_same():
    wishes = Wishes(None, None, rank=0, world=1)
    wishes.hear([(0, 0, 8.0)], 0)
    assert next_of(WishedClips(Usual(count=1), Pool(), wishes, batch=3, most=1)) == [0, 0, 0]


def go_on(rank, world, states):
    """What a rank's stream comes to next, begun anew and taken up from what rank 0 has saved; and its state then."""
    made = WishedClips(Usual(), Pool(), Wishes(None, None, rank, world), batch=4, most=2)
    if states is None:
        made.wishes.hear([(0, 90, 8.0), (0, 92, 7.0)], 0)  # both of them rank 0's
        next(made)
    else:
        made.load_state_dict(states)
    state = made.state_dict()
    return state, next_of(made)


@pytest.mark.ranks
def test_every_rank_goes_on_in_its_own_order():
    """One that is asked for less walks faster through the usual order: what it has yet to label is not where rank 0 is."""
    before = run_ranks(go_on, 2, None)
    assert [clips for _, clips in before] == [[2, 3, 4, 5], [4, 5, 6, 7]]
    saved = before[0][0]
    assert [clips for _, clips in run_ranks(go_on, 2, saved)] == [clips for _, clips in before]
    alone = run_ranks(go_on, 3, saved)
    assert [clips for _, clips in alone] == [[2, 3, 4, 5]] * 3, "of other ranks, from where all had come"


def labelled_clips(folder, clip_frames=4):
    """Per step what was trained on: the clips of each planned row range."""
    topic = inspect_topic_of(folder, "labels")
    consumer = Consumer(topic, 0, Staleness(1.0))
    steps = []
    for plan in load_plans(folder / "metrics" / "plan.jsonl"):
        ids = consumer.fetch(plan).columns["sample_id"]
        steps.append([int(sample) // clip_frames for sample in ids[::clip_frames]])
    return steps


def inspect_topic_of(folder, name):
    return inspect_topic(PosixStore(folder / "queue" / name))


def notes(folder):
    """All notes in the order they were sent: student's step, clip, score."""
    topic = inspect_topic_of(folder, "feedback")
    planner = Planner(topic, "test", Staleness(1.0))
    planner.tick()
    plan = planner.plan(0, planner.pending_rows, 1, reuse=False)
    consumer = Consumer(topic, 0, Staleness(1.0))
    rows = consumer.fetch(plan).columns
    planner.close()
    return list(
        zip(rows["teacher_step"].tolist(), rows["sample_id"].tolist(), rows["score"].tolist(), strict=True)
    )


@pytest.mark.ranks
def test_a_run_labels_what_the_student_asked_for(faces, tmp_path):
    """Two clips per step, one of them by wish: the highest note that was not granted yet."""
    folder = train(faces, tmp_path / "run", *STEERED, "runtime.queue.collect=false")
    sent, waiting, granted = notes(folder), {}, 0
    assert all(np.isfinite(score) and score > 0 for *_, score in sent)
    for step, clips in enumerate(labelled_clips(folder), start=2):
        if step % 2 == 0:  # where the student publishes
            waiting |= {clip: score for at, clip, score in sent if at == step}
        if waiting:
            best = min(waiting, key=lambda clip: (-waiting[clip], clip))
            assert clips[0] == best, f"step {step}"
            granted += 1
        for clip in clips:  # whatever was labelled, by wish or in its turn, is wished for no more
            waiting.pop(clip, None)
    assert granted >= 8


@pytest.mark.ranks
def test_without_a_share_nothing_is_asked_and_nothing_changes(faces, tmp_path):
    folder = train(faces, tmp_path / "run")
    assert not (folder / "queue" / "feedback").exists()
    clips = build_clips(open_data(short_config(faces, tmp_path)).unlabelled, "all", 4, 1)
    order = EpochOrder(clips.clips_per_shard_S, clips.fingerprint, 3, 0, 32)
    expected = order.ids(np.arange(len(clips))).tolist()
    found = [clip for step in labelled_clips(folder) for clip in step]
    assert found[: len(expected)] == expected[: len(found)]


@pytest.mark.ranks
def test_notes_that_no_kept_checkpoint_needs_are_collected(faces, tmp_path):
    # Both roles save at the last step, which needs no note any more; the one before needs the newest.
    setting = (*STEERED, "runtime.checkpoint.keep=2")
    whole = train(faces, tmp_path / "whole", *setting, "runtime.queue.collect=false")
    tidy = train(faces, tmp_path / "tidy", *setting)
    files = {folder: sorted(folder.glob("queue/feedback/p/*/d/*/*.parquet")) for folder in (whole, tidy)}
    left = [int(path.stem) for path in files[tidy]]
    assert 0 < len(left) < len(files[whole])
    assert left == [int(path.stem) for path in files[whole]][-len(left) :], "the oldest go first"
    assert metrics(whole) == metrics(tidy), "and it makes no difference"
