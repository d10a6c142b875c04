"""A compilation is waited for, and one that was killed is said."""

import os

import pytest

from tsal_dist.engine.compilation import LONGEST_S, wait_for_compilations
from tsal_dist.errors import TrainingError


@pytest.mark.parametrize("place", ["deepspeed_shm_comm", "py311_cpu/deepspeed_shm_comm"])
def test_a_lock_is_waited_for_until_it_is_too_old(tmp_path, place):
    now, lock = [1000.0], tmp_path / place / "lock"
    wait_for_compilations(tmp_path, lambda: now[0], pytest.fail)
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (1000.0, 1000.0))

    def compile_for(seconds):
        def sleep(span):
            now[0] += span
            if now[0] >= 1000 + seconds:
                lock.unlink()

        return sleep

    wait_for_compilations(tmp_path, lambda: now[0], compile_for(LONGEST_S - 5))
    assert not lock.exists()
    lock.touch()
    os.utime(lock, (now[0], now[0]))
    with pytest.raises(
        TrainingError, match=r"lock says that .* for 15 minutes: .* was killed.* Remove that file"
    ):
        wait_for_compilations(tmp_path, lambda: now[0], compile_for(10**9))


def test_locks_of_others_are_none_of_ours(tmp_path):
    (tmp_path / "py311_cpu" / "something_else").mkdir(parents=True)
    (tmp_path / "py311_cpu" / "something_else" / "lock").touch()
    wait_for_compilations(tmp_path, sleep=pytest.fail)
    wait_for_compilations(tmp_path / "absent", sleep=pytest.fail)
