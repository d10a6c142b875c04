"""One small data set for all tests of whole runs, and processes that never outlive a test."""

import pytest

from tests.roles.short_runs import pack_faces
from tests.runs.jobs import Jobs


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def jobs():
    """Starts real processes; whatever is left of them at the end is killed."""
    with Jobs() as started:
        yield started
