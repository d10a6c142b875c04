"""Folders of small shards for every test of this room; what is in them: `made_shards`."""

import pytest
from made_shards import write_folder


@pytest.fixture(scope="session")
def shards_url(tmp_path_factory):
    """Three shards: 5 videos of 11, 6, 3, 9 and 1 frames, and 4 stills; some frames labelled."""
    return write_folder(
        tmp_path_factory.mktemp("shards"),
        [
            [(11, {0, 4, 10}, "video"), (6, set(), "video")],
            [(3, {0, 1, 2}, "video"), (9, {8}, "video")],
            [(4, {0, 1, 2, 3}, "stills"), (1, set(), "video")],
        ],
    )


@pytest.fixture
def write_shards(tmp_path):
    """Write a folder of shards: `write_shards(shards, name)`; see `write_folder`."""
    return lambda shards, name="made": write_folder(tmp_path / name, shards)
