"""A sweep that ends with its test."""

import pytest

from tests.launch.sweep.sweeping import end, start_sweep, write_sweep


@pytest.fixture
def sweep(tmp_path):
    """`sweep(text, space, *words, faults=...)` starts a sweep in this test's folder."""
    started = []

    def start(text: str, space: str, *words: str, faults: dict | None = None):
        folder = tmp_path / "sweep"
        head = f'[sweep]\ndir = "{folder}"\n'
        file = write_sweep(tmp_path / "tiny.toml", head + text, space)
        started.append(start_sweep(folder, file, *words, faults=faults))
        return started[-1]

    yield start
    for one in started:
        end(one)
