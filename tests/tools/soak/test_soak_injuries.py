"""An injury does what it says: damage changes the file, a clock that jumps is off, and nothing else is."""

import os
import random
import subprocess
import sys

import pytest

from tools.soak.injuries import clock_settings, cut_file, flip_bit, punch_hole, set_clock


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

    settings = clock_settings(tmp_path)
    if settings is None:
        pytest.skip("no C compiler")
    set_clock(tmp_path / "clock", off_s)
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
