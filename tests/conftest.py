"""What every test may ask for."""

import os

import hypothesis
import pytest

# Two test workers on two cores: more threads than cores only take turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# A loaded machine is no defect: how long an example takes is not what these tests are about.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture
def rng():
    """A numpy generator that is the same in every run."""
    import numpy as np

    return np.random.default_rng(0)
