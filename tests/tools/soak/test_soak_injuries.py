"""An injury does what it says: damage changes the file, a clock is off, a listing is late, and nothing else is."""

import os
import random
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.fakes_rows import Scene, make_batch
from tools.soak.acts import hurt
from tools.soak.injuries import FaultInjector, NotNow, cut_file, flip_bit, own_producers, punch_hole
from tools.soak.preload import build_libraries, set_seconds
from tools.soak.run_under_test import RunUnderTest
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.survey import lint_topic
from tsal_dist.run_dir import RunDir


@pytest.mark.parametrize("how", [flip_bit, cut_file, punch_hole])
@pytest.mark.parametrize("data", [bytes(2000), b"\xff" * 2000, bytes(range(256)) * 9, b"x"], ids=len)
def test_damage_changes_the_file(tmp_path, how, data):
    for seed in range(20):
        path = tmp_path / "a"
        path.write_bytes(data)
        said = how(path, random.Random(seed))
        assert path.read_bytes() != data
        assert said


CHILD = """
import threading, time
print(time.time(), time.monotonic(), time.localtime().tm_year, flush=True)
start = time.monotonic()
threading.Event().wait(0.2)
time.sleep(0.1)
print(time.monotonic() - start)
"""


@pytest.mark.parametrize("off_s", [-86_400, 0, 40 * 86_400])
def test_only_the_wall_clock_jumps(tmp_path, off_s):
    import time

    settings = build_libraries(tmp_path)
    if settings is None:
        pytest.skip("no C compiler")
    set_seconds(tmp_path, "clock", off_s)
    before, monotonic = time.time(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    first, waited = done.stdout.splitlines()
    wall, steady = map(float, first.split()[:2])
    assert 0 <= wall - off_s - before < 30
    assert 0 <= steady - monotonic < 30
    assert 0.3 <= float(waited) < 10


LISTED = "import os; print(sorted(os.listdir('.')), os.path.isdir('folder'), os.path.isfile('file'))"


def test_a_late_listing_hides_new_folders_and_claims_and_nothing_else(tmp_path):
    settings = build_libraries(tmp_path)
    if settings is None:
        pytest.skip("no C compiler")
    place = tmp_path / "place"
    (place / "folder").mkdir(parents=True)
    for name in ("file", "teacher-0.claim-000001"):
        (place / name).touch()

    def listed():
        done = subprocess.run(
            [sys.executable, "-c", LISTED],
            cwd=place,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert listed() == "['file', 'folder', 'teacher-0.claim-000001'] True True"
    set_seconds(tmp_path, "listing", 3600)
    assert listed() == "['file'] True True", "who asks by the name finds it"
    set_seconds(tmp_path, "listing", 0)
    assert listed() == "['file', 'folder', 'teacher-0.claim-000001'] True True"


@pytest.fixture
def injector(tmp_path):
    """Of a run that nobody works on, with a producer that has published."""
    run_dir = RunDir(tmp_path / "run")
    scene = Scene(PosixStore(run_dir.queue("labels"), create=True))
    scene.producer().publish(make_batch(range(8)), 1)
    run = RunUnderTest(run_dir, [], 100, 1, 1, {})
    run.student.held = run.teacher.held = True
    return FaultInjector(run, tmp_path, tmp_path / "shards", tmp_path / "other", None, 1.0), scene


def test_strangers_are_passed_over_and_counted(injector):
    """Five of them, and what is the run's own is planned all the same."""
    injector, scene = injector
    own = own_producers(scene.store)
    said = {hurt(injector, "plant a stranger", dice).partition(", with ")[2] for dice in range(30)}
    assert len(said) == 5
    assert own_producers(scene.store) == own
    planner = scene.planner()
    planner.tick()
    assert planner.plan(2, 8, 1).rows_per_rank == 8
    planner.close()
    assert len({finding.place.split()[0] for finding in lint_topic(scene.topic)}) == 30


def test_control_files_are_damaged_and_the_word_that_ends_a_run_is_not(injector):
    injector, _ = injector
    with pytest.raises(NotNow):
        hurt(injector, "damage control files", 0)
    control = injector.run.run_dir.root / "ctl"
    files = [
        control / name
        for name in ("hello/a.json", "hello/a.turn", "hello/a.claim-000001", "beat/a.json", "stop")
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"whole" * 9)
    for dice in range(20):
        with suppress(NotNow):  # when all of them are cut to nothing
            hurt(injector, "damage control files", dice)
    changed = {path.name for path in files if path.read_bytes() != b"whole" * 9}
    assert changed == {"a.json", "a.turn"}


def test_no_run_is_cleaned_that_may_end_by_itself_meanwhile(injector):
    injector, _ = injector
    path = injector.run.run_dir.beat("student", 0)
    path.parent.mkdir(parents=True)
    path.write_text('{"incarnation": 1, "seq": 9, "phase": "train", "step": 90, "host": ""}')
    with pytest.raises(NotNow):
        hurt(injector, "clean a living run", 0)
