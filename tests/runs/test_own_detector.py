"""A detector in anybody's file trains, and is found again by whoever reads the run."""

from pathlib import Path

import pytest
import torch

from tests.roles.short_runs import POINTS, train
from tsal_dist.models.detectors import build_detector

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
NET = PAGE.partition("## A detector of your own")[2].partition("```python\n")[2].partition("```")[0]
"""The page's own example."""


@pytest.fixture
def net(tmp_path):
    page = tmp_path / "my_net.py"
    page.write_text(NET)
    return f"{page}:Net"


@pytest.mark.ranks
@pytest.mark.slow
def test_the_pages_example_trains_with_a_teacher_and_is_loaded_from_the_run(faces, tmp_path, net):
    from tsal_dist.inference.trained import load_trained

    run = train(faces, tmp_path / "run", f"model.detector={net}", "method.name=mean_teacher")
    trained = load_trained(str(run), "student").model.state_dict()
    fresh = build_detector(net, POINTS).state_dict()
    assert trained.keys() == fresh.keys()
    assert any(not torch.equal(value, fresh[name]) for name, value in trained.items())
