"""Names from files are no paths: nothing is read or written outside of the folder that it belongs to.

Names of tar members, stores, shards and producers have tests beside them; here are the ways that go through more than
one part.
"""

import dataclasses
import json
import os

import pytest

from tests.fakes_rows import Scene, make_batch
from tests.pack.footage import make_image
from tests.pack.packing import pack_all
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.pseudo.topic import list_producers


@pytest.fixture
def scene(tmp_path):
    """A queue on disk with one segment, beside a file that is none of its business."""
    (tmp_path / "secret").mkdir()
    scene = Scene(PosixStore(tmp_path / "queue", create=True))
    producer = scene.producer()
    producer.publish(make_batch(range(8)), 1)
    producer.close()
    return scene


@pytest.mark.parametrize("name", ["../../../secret/t-r0000-000001", "/etc", "a/../b", "..", ""])
def test_a_plan_log_cannot_name_a_segment_elsewhere(scene, tmp_path, name):
    planner = scene.planner()
    planner.tick()
    plan = planner.plan(1, 8, 1)
    planner.close()
    part = dataclasses.replace(plan.ranks[0][0], producer=name)
    text = dataclasses.replace(plan, ranks=((part,),)).to_json()
    (tmp_path / "plan.jsonl").write_text(json.dumps(text) + "\n")
    (forged,) = load_plans(tmp_path / "plan.jsonl")
    consumer = scene.consumer()
    delivery = consumer.fetch(forged)
    assert not delivery.fresh_N.any(), "its rows weigh nothing, as those of any segment that cannot be read"
    assert "no name of a store" in consumer.damaged[name, part.seq]


@pytest.mark.parametrize(
    "name", ["..", "teacher-r0-1", "teacher-r0000-000001.bak", "Teacher-r0000-000002", ".x"]
)
def test_folders_that_are_no_producers_are_not_read(scene, name):
    (scene.store.root / "p" / name).mkdir(exist_ok=True)
    assert list_producers(scene.store) == ["teacher-r0000-000001"]


def test_a_link_in_the_quarantine_is_not_followed(scene, tmp_path):
    """Setting a segment aside moves the name; a link that somebody put in its place is moved as a link."""
    precious = tmp_path / "secret" / "precious"
    precious.write_bytes(b"keep me")
    (segment,) = (scene.store.root / "p").rglob("*.parquet")
    segment.unlink()
    segment.symlink_to(precious)
    planner = scene.planner()
    planner.tick()
    assert planner.plan(1, 8, 1).fresh_rows == 0
    planner.close()
    assert precious.read_bytes() == b"keep me"
    assert not os.path.lexists(segment)


@pytest.mark.parametrize("name", ["step_..", "step_-1", "step_1e3", "step_\u00b2", "step_"])
def test_folders_that_are_no_checkpoints_are_not_opened(tmp_path, name):
    checkpoints = Checkpoints(tmp_path / "checkpoints", None, keep=2)
    checkpoints.save(3, {"step": 3}, {})
    (tmp_path / "checkpoints" / name).mkdir()
    (tmp_path / "checkpoints" / name / "COMMIT").write_text("{}")
    assert checkpoints.committed() == [3]


def test_a_list_cannot_reach_out_of_the_root(tmp_path):
    """Whoever packs a stranger's list names the root; the list's paths then stay below it."""
    (tmp_path / "faces").mkdir()
    make_image(tmp_path / "private.png")
    for path in ("../private.png", str(tmp_path / "private.png"), "a/../../private.png"):
        (tmp_path / "faces" / "l.txt").write_text(f"{path} None 1 1 30 30\n")
        with pytest.raises(ConfigError, match="not below the root"):
            pack_all(
                tmp_path / "out", lists=[tmp_path / "faces" / "l.txt"], gather={"root": tmp_path / "faces"}
            )
    assert not list(tmp_path.rglob("*.tar"))


def test_a_manifest_cannot_name_a_shard_elsewhere(tmp_path):
    make_image(tmp_path / "face.png")
    (tmp_path / "l.txt").write_text("face.png None 1 1 30 30\n")
    pack_all(tmp_path, lists=[tmp_path / "l.txt"], split="train")
    path = tmp_path / "train" / "manifest.json"
    page = json.loads(path.read_text())
    for name in ("../x", "/etc/passwd", "a/b", "..", ""):
        page["shards"][0]["name"] = name
        path.write_text(json.dumps(page))
        with pytest.raises(DataError, match="name"):
            open_shards([str(tmp_path / "train")])
