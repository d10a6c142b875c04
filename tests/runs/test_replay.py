"""A finished run, trained once more by its own plans: the same weights, to the bit."""

import json

import pytest

from tests.checkpoint.equality import equal
from tests.roles.short_runs import metrics, saved, student_of, train
from tests.runs.other_runs import copy_run, rerun
from tsal_dist.errors import ConfigError
from tsal_dist.pseudo.step_plan import Plan, PlanLog

pytestmark = pytest.mark.ranks

SPLIT = ("runtime.topology=split", "runtime.queue.on_starvation=wait", "train.unlabelled_batch=4")


@pytest.fixture(scope="module")
def original(faces, tmp_path_factory):
    """Whose pseudo-labels count by what was measured on the way: a replay has to measure the same."""
    return train(faces, tmp_path_factory.mktemp("original") / "run", "train.loss.headroom=true")


def replay(original, folder, *overrides, world=1):
    return rerun(folder, "--replay-plan", str(original), *overrides, world=world)


def assert_same_student(first, second):
    assert equal(student_of(first), student_of(second))
    for one, other in zip(metrics(first), metrics(second), strict=True):
        assert one == other


def test_a_replay_ends_with_the_same_weights(original, tmp_path):
    again = replay(original, tmp_path / "again")
    assert_same_student(original, again)
    assert saved(again, "student")["headroom"] == saved(original, "student")["headroom"] < 1
    assert not (again / "queue").exists(), "its labels lie with the other run"
    assert not (again / "weights").exists(), "nobody absorbs it"
    assert (again / "metrics" / "plan.jsonl").read_text() == (original / "metrics" / "plan.jsonl").read_text()


def test_a_replay_can_be_replayed(original, tmp_path):
    again = replay(original, tmp_path / "again")
    assert_same_student(original, replay(again, tmp_path / "once more"))


def test_the_order_of_the_plans_matters(original, tmp_path):
    """Else equal weights would prove nothing."""
    other = tmp_path / "other"
    (other / "metrics").mkdir(parents=True)
    for name in ("run.json", "queue"):
        (other / name).symlink_to(original / name)
    lines = [json.loads(line) for line in (original / "metrics" / "plan.jsonl").read_text().splitlines()]
    # Two plans trade their rows, in steps at which both are admitted.
    lines[-1]["ranks"], lines[-2]["ranks"] = lines[-2]["ranks"], lines[-1]["ranks"]
    log = PlanLog(other / "metrics" / "plan.jsonl")
    for line in lines:
        log.write(Plan.from_json(line))
    log.close()
    assert not equal(student_of(original), student_of(replay(other, tmp_path / "again")))


@pytest.mark.parametrize(("students", "workers"), [(1, 0), (2, 0), (1, 1)])
def test_an_asynchronous_run_is_replayed_to_the_bit(faces, tmp_path, students, workers):
    """With reader processes it plans a step ahead, where there are labels for it."""
    first = train(faces, tmp_path / "split", *SPLIT, f"data.workers={workers}", world=students + 1)
    assert_same_student(first, replay(first, tmp_path / "again", world=students))


def test_a_stopped_replay_goes_on(original, tmp_path):
    """From its checkpoint of step 4: what the replay remembers is in there."""
    again = replay(original, tmp_path / "again")
    late = again / "checkpoints" / "student" / "step_8" / "COMMIT"
    late.unlink()
    resumed = rerun(again, "--resume", "--replay-plan", str(original))
    assert late.exists()
    assert equal(student_of(original), student_of(resumed))
    assert saved(again, "student")["planner"]["replay_of"]


def test_a_segment_that_is_gone_ends_the_replay(original, tmp_path):
    other = copy_run(original, tmp_path / "other")
    gone = sorted(other.glob("queue/labels/p/*/d/*/*.parquet"))[1]
    gone.unlink()
    with pytest.raises(AssertionError, match=f"{gone.name} is gone: it was collected"):
        replay(other, tmp_path / "again")


def test_a_flipped_bit_ends_the_replay(original, tmp_path):
    other = copy_run(original, tmp_path / "other")
    struck = sorted(other.glob("queue/labels/p/*/d/*/*.parquet"))[1]
    data = bytearray(struck.read_bytes())
    data[len(data) // 2] ^= 4
    struck.write_bytes(data)
    with pytest.raises(AssertionError, match="its checksum does not match"):
        replay(other, tmp_path / "again")


def refusal(original, folder, *argv):
    from tsal_dist.train import main

    with pytest.raises(ConfigError) as caught:
        main(["--replay-plan", str(original), f"run.dir={folder}", *argv])
    return str(caught.value)


def test_what_does_not_fit_is_refused(original, tmp_path):
    new = tmp_path / "new"
    assert "cannot be trained over" in refusal(original, original, "--clean")
    assert (original / "run.json").exists()
    assert "holds no run.json" in refusal(tmp_path / "nowhere", new)
    assert "train.seed = 0, and the replay has 3" in refusal(original, new, "train.seed=3")
    short = copy_run(original, tmp_path / "short")
    log = short / "metrics" / "plan.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    assert "ends at step 6, and training has 8 steps" in refusal(short, tmp_path / "b")
    log.unlink()
    assert "plan.jsonl is missing" in refusal(short, tmp_path / "c")


def test_another_number_of_students_is_refused(original, tmp_path):
    with pytest.raises(AssertionError, match="trained by 1 student processes and is replayed by 2"):
        replay(original, tmp_path / "again", world=2)
