"""Books that close, and every way in which they do not."""

import dataclasses
import shutil

import pytest

from tests.fakes_rows import Scene, make_batch
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.config.load import override
from tsal_dist.errors import CheckpointError
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.insight.audit import audit_run
from tsal_dist.insight.status import read_queue
from tsal_dist.json_object import read_sealed, write_sealed
from tsal_dist.pseudo.borrowed import BorrowedStore
from tsal_dist.pseudo.log import RECORD_BYTES, log_name
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import PlanLog, load_plans
from tsal_dist.pseudo.survey import living_segments, survey_producers
from tsal_dist.pseudo.topic import inspect_topic, list_producers, meta_name
from tsal_dist.run import open_run

BURN_IN, STEPS, MAX_LAG = 3, 9, 5


@pytest.fixture
def run_dir(tmp_path):
    return make_run(tmp_path)


def make_run(tmp_path, at_last=lambda scene, planner, producer: None):
    """A student that planned six steps of eight rows and saved; sixteen rows wait."""
    config = override(
        RunConfig(), f"run.dir={tmp_path}", "train.steps=100", f"train.burn_in_steps={BURN_IN}",
        f"runtime.queue.max_lag_steps={MAX_LAG}", "runtime.queue.max_rho=1",
    )  # fmt: skip
    run_dir = open_run(config, "new").dir
    scene = Scene(PosixStore(run_dir.queue("labels"), create=True))
    producer = scene.producer()
    log = PlanLog(run_dir.metrics("plan"))
    planner = scene.planner(staleness=Staleness(0.99, 1.0, MAX_LAG), plan_log=log)
    for step in range(BURN_IN, STEPS):
        producer.publish(make_batch(range(8 * step, 8 * step + 8)), step)
        planner.tick()
        planner.plan(step, 8, 1)
        planner.trained(step)
    producer.publish(make_batch(range(800, 816)), STEPS)
    at_last(scene, planner, producer)
    state = {"planner": planner.state_dict()}
    Checkpoints(run_dir.checkpoints("student"), None, keep=1).save(STEPS - 1, state, {})
    planner.close()
    log.close()
    return run_dir


def rewrite(run_dir, change):
    """The plan log with one plan changed."""
    path = run_dir.metrics("plan")
    plans = load_plans(path)
    path.unlink()
    log = PlanLog(path)
    for plan in change(plans):
        log.write(plan)
    log.close()


def changed_part(plan, **changes):
    (rank,) = plan.ranks
    return dataclasses.replace(plan, ranks=((dataclasses.replace(rank[0], **changes), *rank[1:]),))


@pytest.mark.parametrize("operation", ["put_new", "replace", "append", "move", "delete"])
def test_an_audit_writes_nothing_into_the_run(run_dir, monkeypatch, operation):
    """Its planner shows a cursor, as every planner does, and would have producers wait for it."""
    touched = []
    monkeypatch.setattr(PosixStore, operation, lambda store, name, *args: touched.append(name))
    assert audit_run(run_dir).violations == []
    assert touched == []


@pytest.mark.parametrize("meta", ["another queue", "another run", "other shards", "noise", "none"])
def test_rows_of_strangers_are_not_in_the_books(run_dir, meta):
    """Somebody's folder lies among the producers, with a log as good as any."""
    queue = run_dir.queue("labels")
    (own,) = list_producers(PosixStore(queue))
    waiting = read_queue(run_dir).waiting_rows
    stranger = "teacher-r0900-000001"
    shutil.copytree((queue / meta_name(own)).parent, (queue / meta_name(stranger)).parent)
    place = queue / meta_name(stranger)
    theirs = {
        "another queue": {"queue": "another"}, "another run": {"run_id": "another"}, "other shards": {"clips": "others"}
    }.get(meta, {})  # fmt: skip
    place.write_bytes(b"noise" if meta == "noise" else write_sealed(read_sealed(place.read_bytes()) | theirs))
    if meta == "none":
        place.unlink()
    audit = audit_run(run_dir)
    assert audit.violations == []
    assert audit.rows["committed"] == 64
    assert read_queue(run_dir).waiting_rows == waiting
    lent = BorrowedStore(MemoryStore(), [PosixStore(queue)])
    for topic in (inspect_topic(PosixStore(queue)), Scene(lent).topic):
        surveys = {survey.name: survey for survey in survey_producers(topic)}
        assert (surveys[own].rows, surveys[own].fault) == (64, "")
        assert surveys[stranger].rows == 0
        assert surveys[stranger].fault
        assert {name for name, _ in living_segments(topic)} == {own}


def test_the_books_of_a_good_run_close(run_dir):
    audit = audit_run(run_dir)
    assert audit.violations == []
    assert audit.steps == STEPS - BURN_IN
    assert audit.uses == 48
    assert audit.bound_steps == MAX_LAG
    assert audit.rows == {"committed": 64, "delivered": 48, "trimmed": 0, "quarantined": 0, "pending": 16}
    assert not (run_dir.queue("labels") / "c" / "audit.json").exists(), "an audit leaves nothing behind"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plans: [*plans[:2], *plans[3:]], "a step is missing"),
        (lambda plans: plans[2:], "after burn-in"),
        (lambda plans: [*plans[:-1], changed_part(plans[-1], teacher_step=1)], "7 steps old (bound 5)"),
        (lambda plans: [*plans[:-1], changed_part(plans[-1], seq=0)], "was planned as use 1"),
        (lambda plans: [*plans[:-1], changed_part(plans[-1], use=2)], "was planned as use 2"),
        (
            lambda plans: [*plans[:-1], changed_part(plans[-1], stop=4)],
            "48 rows were delivered and 44 trained on",
        ),
    ],
    ids=["missing", "late start", "stale", "twice", "second first", "lost"],
)
def test_a_plan_that_breaks_a_rule_is_found(run_dir, change, words):
    rewrite(run_dir, change)
    assert words in "\n".join(audit_run(run_dir).violations)


def test_a_row_that_is_used_too_often_is_found(run_dir):
    def thrice(plans):
        first = plans[0].ranks[0][0]
        again = [changed_part(plan, seq=first.seq, use=use) for use, plan in enumerate(plans[:3], 1)]
        return [*again, *plans[3:]]

    rewrite(run_dir, thrice)
    found = audit_run(run_dir).violations
    assert "was trained on 3 times" in "\n".join(found)
    assert any(text.startswith("... and") for text in found), "many of a kind are counted, not listed"


def test_rows_that_the_student_knows_and_no_log_has_are_found(run_dir):
    path = run_dir.queue("labels") / log_name("teacher-r0000-000001")
    path.write_bytes(path.read_bytes()[: 2 * RECORD_BYTES])
    assert "logged" in "\n".join(audit_run(run_dir).violations)


def test_what_is_logged_after_a_successor_was_seen_is_nobodys(tmp_path):
    """A process that finds out late that another one took its place may have one segment more to write."""

    def succeed(scene, planner, producer):
        scene.producer(incarnation=2)
        planner.tick()
        producer.publish(make_batch(range(900, 908)), STEPS)

    assert audit_run(make_run(tmp_path, succeed)).violations == []


def test_labels_alone_keep_no_books(tmp_path):
    config = override(RunConfig(), f"run.dir={tmp_path}/run", "method.name=supervised")
    run_dir = open_run(config, "new").dir
    Checkpoints(run_dir.checkpoints("student"), None, keep=1).save(8, {"planner": None}, {})
    with pytest.raises(CheckpointError, match=r"without pseudo-labels \(method\.name=supervised\), so there"):
        audit_run(run_dir)


def test_without_a_checkpoint_there_are_no_books(tmp_path):
    run_dir = open_run(override(RunConfig(), f"run.dir={tmp_path}/run"), "new").dir
    with pytest.raises(CheckpointError, match="no books to close"):
        audit_run(run_dir)
