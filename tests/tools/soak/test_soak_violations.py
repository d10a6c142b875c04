"""A corrupted segment that taught, or that nobody reported, is found; so is a loss that is not finite."""

import json

import pytest

from tests.fakes_rows import Scene, make_batch
from tools.soak.violations import check_damage, check_metrics
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.topic import segment_name
from tsal_dist.run_dir import RunDir

NAME = "teacher-r0000-000001"


@pytest.fixture
def scene(tmp_path):
    scene = Scene(PosixStore(tmp_path / "queue", create=True))
    producer = scene.producer(max_rows=8)
    producer.publish(make_batch(range(24)), 1)
    producer.close()
    return scene


def damage(scene, seq):
    path = scene.store.root / segment_name(NAME, seq)
    data = bytearray(path.read_bytes())
    data[99] ^= 1
    path.write_bytes(data)


def test_what_was_set_aside_is_no_violation(scene):
    damage(scene, 1)
    planner = scene.planner()
    planner.tick()
    planner.plan(1, 24, 1)
    planner.close()
    assert check_damage(scene.store.root, {(NAME, 1): "flipped"}, frozenset({(NAME, 0), (NAME, 2)})) == []


def test_what_nobody_has_opened_is_found_by_lint(scene):
    damage(scene, 2)
    assert check_damage(scene.store.root, {(NAME, 2): "flipped"}, frozenset()) == []


def test_what_taught_or_was_not_noticed_is_a_violation(scene):
    found = check_damage(scene.store.root, {(NAME, 1): "flipped"}, frozenset({(NAME, 1)}))
    assert [text.rpartition(") ")[2] for text in found] == ["was trained on", "was reported by nobody"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([{"step": 1, "loss/total": None}, {"step": 2, "loss/total": 0.5}], []),
        (
            [{"step": 1, "loss/total": 0.5}, {"step": 2, "loss/total": None}],
            ["loss/total is not finite in the end"],
        ),
        ([{"step": 1, "speed/steps_per_s": 3}], ["the student wrote down nothing of what it learnt"]),
    ],
)
def test_the_last_word_on_a_loss_counts(tmp_path, lines, found):
    path = RunDir(tmp_path).metrics("student")
    path.parent.mkdir()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert check_metrics(RunDir(tmp_path)) == found
