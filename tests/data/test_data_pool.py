"""L9 and the other ways in which worker processes end, with real signals."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.pool import Workers
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.records import FrameRef

CROP_PX = 24
FIRST = ClipRequest(FrameRef(0, 0), 1, 1)


@pytest.fixture
def build(shards_url):
    made = []

    def start(deadline_s):
        reader = functools.partial(FrameReader, open_shards([shards_url]), ViewSettings(crop_px=CROP_PX))
        made.append(Workers(reader, 2, 8, CROP_PX * CROP_PX * 3, 4, deadline_s))
        return made[-1]

    yield start
    for pool in made:
        pool.close()


@pytest.fixture
def pool(build):
    return build(60)


def alive(pid):
    """A zombie has ended: it waits for its parent, or for init, to notice."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, timeout_s):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"still not so after {timeout_s} s"
        time.sleep(0.02)


def test_answers_belong_to_their_tickets_in_any_order(pool):
    tickets = {pool.submit(ClipRequest(FrameRef(0, n), 1 + n % 3, 1)): n for n in range(8)}
    for ticket in reversed(tickets):
        clip = pool.take(ticket)
        assert clip.ref.index == tickets[ticket]
        assert clip.image_THWC.shape == (1 + tickets[ticket] % 3, CROP_PX, CROP_PX, 3)


def test_a_clip_stays_what_it_is_when_its_slot_is_used_again(pool):
    clip = pool.take(pool.submit(FIRST))
    before = clip.image_THWC.copy()
    for n in range(30):
        pool.take(pool.submit(ClipRequest(FrameRef(0, n % 11), 1, 1)))
    assert (clip.image_THWC == before).all()
    assert before.any()


def test_a_killed_worker_is_a_clear_error_at_once(pool):
    pool.take(pool.submit(FIRST))
    victim = pool.pids[0]
    others = pool.pids[1:]
    os.kill(victim, signal.SIGSTOP)
    tickets = [pool.submit(FIRST) for _ in range(2)]  # one for each worker
    os.kill(victim, signal.SIGKILL)
    start = time.monotonic()
    told = f"worker {victim} was killed by signal 9 while it read shard 0 frame 0"
    with pytest.raises(DataError, match=told):
        [pool.take(ticket) for ticket in tickets]
    assert time.monotonic() - start < 20  # far below the deadline of a silent worker
    assert not any(alive(pid) for pid in [victim, *others])


def test_a_silent_worker_is_an_error_after_the_deadline(build):
    pool = build(1.5)
    for pid in pool.pids:
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(DataError, match="gave no clip for 2 s while it read shard 0 frame 0"):
        pool.take(pool.submit(FIRST))
    assert 1.4 < time.monotonic() - start < 20
    assert not pool.pids


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_the_schedulers_signals_do_not_end_a_worker_at_its_start_or_later(pool, name):
    for _ in range(40):
        for pid in pool.pids:
            os.kill(pid, getattr(signal, name))
        time.sleep(0.02)
    assert all(pool.take(pool.submit(FIRST)).ref == FIRST.ref for _ in range(6))
    for pid in pool.pids:
        os.kill(pid, getattr(signal, name))
    assert all(pool.take(pool.submit(FIRST)).ref == FIRST.ref for _ in range(6))


def test_a_defect_of_a_reader_is_an_error_and_not_a_hang():
    pool = Workers(functools.partial(int, "x"), 1, 1, 1, 1, deadline_s=30)
    with pytest.raises(DataError, match="ended with exit code 1"):
        pool.take(pool.submit(FIRST))


def test_closing_is_quick_and_leaves_nothing(pool):
    pids = pool.pids
    before = len(os.listdir("/proc/self/fd"))
    [pool.submit(FIRST) for _ in range(8)]
    start = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - start < 10
    assert not any(alive(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) <= before - 2 * len(pids)


PARENT = """
    import sys
    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.data.request import ReadAhead
    from tsal_dist.data.stream import ClipStream

    if __name__ == "__main__":
        stream = ClipStream(
            open_shards([sys.argv[1]]), ViewSettings(crop_px=24), select="all", batch=4, rank=0, world=1,
            seed=0, read_ahead=ReadAhead(workers=2),
        )
        next(stream)
        print(*stream._pool.pids, flush=True)
        if sys.argv[2] == "wait":
            sys.stdin.read()
        if sys.argv[2] == "raise":
            raise SystemExit(3)
"""


@pytest.fixture
def parent(tmp_path, shards_url):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))

    def start(how):
        return subprocess.Popen(
            [sys.executable, str(script), shards_url, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )

    return start


def test_a_killed_parent_leaves_no_worker(parent):
    with parent("wait") as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        process.kill()
        wait_until(lambda: not any(alive(pid) for pid in pids), 20)


@pytest.mark.parametrize(("how", "code"), [("leave", 0), ("raise", 3)])
def test_a_parent_that_never_closes_ends_all_the_same(parent, how, code):
    with parent(how) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert process.wait(timeout=60) == code
        wait_until(lambda: not any(alive(pid) for pid in pids), 20)


def test_more_may_be_asked_than_there_are_slots(pool):
    tickets = [pool.submit(ClipRequest(FrameRef(0, n % 11), 1, 1)) for n in range(300)]
    assert [pool.take(ticket).ref.index for ticket in tickets] == [n % 11 for n in range(300)]


def test_a_clip_larger_than_its_slot_is_refused(pool):
    with pytest.raises(ConfigError, match="5 frames was asked of readers made for 4"):
        pool.submit(ClipRequest(FrameRef(0, 0), 5, 1))


def test_workers_do_not_load_torch():
    """They would take seconds to start and hundreds of megabytes each."""
    code = "import sys, tsal_dist.data.pool, tsal_dist.data.reader, tsal_dist.data.stream; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
