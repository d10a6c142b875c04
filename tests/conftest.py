"""What every test may ask for."""

import ctypes
import functools
import os
import sys

import hypothesis
import pytest

# Two test workers on two cores: more threads than cores only take turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# A loaded machine is no defect: how long an example takes is not what these tests are about.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def nobody_adopts():
    """A test that makes pytest the parent of orphans leaves zombies, on which a Slurm waits for ever."""
    yield
    if sys.platform == "linux":
        flag = ctypes.c_int()
        ctypes.CDLL(None).prctl(37, ctypes.byref(flag))  # PR_GET_CHILD_SUBREAPER
        if flag.value:
            ctypes.CDLL(None).prctl(36, 0)
            pytest.fail("this test called adopt_orphans within pytest; start a process for it")


@pytest.fixture
def rng():
    """A numpy generator that is the same in every run."""
    import numpy as np

    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """One small data set of synthetic faces, packed."""
    from tests.roles.short_runs import pack_faces

    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def run_of(faces, tmp_path_factory):
    """The run of a recipe on one process, made when it is first asked for."""
    from tests.roles.short_runs import train

    return functools.cache(
        lambda recipe: train(faces, tmp_path_factory.mktemp(recipe) / "run", f"method.name={recipe}")
    )
