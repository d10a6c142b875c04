"""Several crews of teachers and one student: each at its own pace, each with its own fate, and all of them read."""

from collections import Counter

from tests.fakes_rows import small_schema
from tests.roles.counting_roles import UNIT
from tests.roles.small_world import World
from tsal_dist.errors import ExitCode, StaleRun
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.collect import collect_orphans, list_segments
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.topic import list_producers, open_topic, segment_name, split_producer

FIRST, NIGHT = "teacher", "teacher-night"


def run(*crews):
    """A whole run with these crews, each a pair of a name and its seconds per segment."""
    world = World()
    for crew, label_s in crews:
        world.start_teacher(crew=crew, label_s=label_s)
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()
    return world


def trained_by_producer(world):
    """Rows that were trained on, each once."""
    return Counter(producer for (producer, _, _), use in world.trained_rows() if use == 1)


def trained_by_crew(world):
    found = Counter()
    for producer, rows in trained_by_producer(world).items():
        found[split_producer(producer)[0]] += rows
    return found


def assert_books_close(world):
    """By a reader that takes up the student's last checkpoint: every producer's rows went where the protocol says."""
    planner = Planner(open_topic(world.queue, small_schema(UNIT), "run"), "books", world.staleness)
    planner.load_state_dict(world.saved["student"].files[world.config.train.steps][0]["planner"])
    planner.tick()
    counts = planner.counts()
    planner.close()
    assert set(counts) == set(list_producers(world.queue)), "every crew is read"
    for name, count in counts.items():
        gone = sum(rows for kind, rows in count.items() if kind != "committed")
        assert (count["committed"], count["delivered"]) == (gone, trained_by_producer(world)[name]), name


def test_a_crew_that_is_six_times_slower_slows_nobody():
    """Neither keeps up with the student, so that what each sends is all that it can."""
    alone, both = run(("", 2.0)), run(("", 2.0), ("night", 12.0))
    before, after = trained_by_crew(alone), trained_by_crew(both)
    assert after[FIRST] >= before[FIRST]
    assert 0 < after[NIGHT] < after[FIRST] / 3
    assert_books_close(both)


def test_crews_together_send_what_neither_could():
    alone, both = run(("", 3.0)), run(("", 3.0), ("night", 3.0))
    assert trained_by_crew(both).total() > 1.5 * trained_by_crew(alone).total()
    assert_books_close(both)


def test_a_crew_that_dies_leaves_the_student_to_the_others(caplog):
    world = World("train.steps=60")
    world.start_teacher()
    night = world.start_teacher(crew="night")
    world.clock.at(10.5, lambda: world.kill(night))
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()
    assert all(world.took[step] for step in range(8, 60)), "no step without labels"
    assert "teacher-night 0 gave its last sign of life" in caplog.text
    assert "going on with those of other teachers" in caplog.text
    assert "then without" not in caplog.text
    assert_books_close(world)


def test_a_student_whose_last_crew_is_gone_says_so(caplog):
    world = World("train.steps=120")
    for crew in ("", "night"):
        handle = world.start_teacher(crew=crew)
        world.clock.at(10.5, lambda handle=handle: world.kill(handle))
    assert world.run_student() == ExitCode.DONE
    assert caplog.text.count("going on with the labels that are there, then without") == 2, "both at once"
    assert world.took[119] == 0


def test_a_crew_joins_late_and_the_first_one_need_never_come(caplog):
    caplog.set_level("INFO")
    world = World("train.steps=60")
    world.start_teacher(crew="early")
    world.start_teacher(at=20.5, crew="late")
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()
    found = trained_by_crew(world)
    assert set(found) == {"teacher-early", "teacher-late"}
    assert found["teacher-late"] > 50
    assert "has never been seen" not in caplog.text, "nobody started a crew without a name"
    assert_books_close(world)


def test_a_crew_that_is_started_twice_fences_its_elder_and_no_other():
    world = World("train.steps=60")
    first = world.start_teacher()
    elder = world.start_teacher(crew="night")
    younger = world.start_teacher(at=15.5, crew="night")
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()
    assert isinstance(elder.error, StaleRun)
    assert "teacher-night 0 was started again as incarnation 2" in str(elder.error)
    assert first.code == younger.code == ExitCode.DONE
    assert elder.ended_at < 18
    assert list_producers(world.queue) == [
        "teacher-night-r0000-000001",
        "teacher-night-r0000-000002",
        "teacher-r0000-000001",
    ]
    trained = trained_by_producer(world)
    assert trained["teacher-night-r0000-000002"] > 50
    assert trained["teacher-r0000-000001"] > 100, (
        "an incarnation 2 of another crew is no successor of this one"
    )
    assert_books_close(world)


def test_what_a_crew_left_unfinished_is_collected_when_its_own_successor_has_come():
    store = MemoryStore()
    topic = open_topic(store, small_schema(UNIT), "run")
    for role, incarnation in ((FIRST, 1), (NIGHT, 1), (NIGHT, 2)):
        producer = Producer(topic, role, 0, incarnation)
        store.put_new(segment_name(producer.name, 0), b"written and never committed")
    assert collect_orphans(store) == 1
    assert list_segments(store, "teacher-night-r0000-000001") == []
    assert list_segments(store, "teacher-r0000-000001") == [0], "it may be committed in the next moment"


def test_a_crew_takes_up_its_own_checkpoint_and_no_other_s():
    world = World("train.steps=60")
    world.start_teacher()
    night = world.start_teacher(crew="night")
    world.clock.at(35.5, lambda: world.kill(night))
    again = world.start_teacher(at=36.5, crew="night")
    assert world.run_student() == ExitCode.DONE
    world.assert_whole()
    assert again.resumed_from == 30
    assert set(world.saved) == {"student", FIRST, NIGHT}
    assert_books_close(world)
