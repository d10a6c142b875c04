"""The student's step of every method on a device that is not the host: what a GPU would refuse, and what it would wait for."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils import backend_registration

from tests.ranks import run_ranks
from tests.roles.other_device import NAME, elsewhere, problems_of, register
from tsal_dist.data import device_view
from tsal_dist.dist.step_sums import StepSums
from tsal_dist.recipes.conformance.trial import Trial
from tsal_dist.recipes.find import PACKAGED
from tsal_dist.roles import batches

METHODS = [
    *((name, {}, 1) for name in PACKAGED),
    ("calibrated", {"weigh": "softmatch"}, 1),
    ("calibrated", {"weigh": "freematch"}, 1),
    ("tsal", {"use": ("heatmap", "track"), "coordinate": 1.0}, 2),
    ("multiaugs", {"views": 4}, 1),
]
pytestmark = [
    pytest.mark.ranks,
    pytest.mark.skipif(
        not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
        reason="this torch takes no device of Python",
    ),
]
LIMIT_S = 180.0


def test_every_methods_step_stays_on_its_device_and_waits_for_nothing():
    (found,) = run_ranks(problems_of, 1, METHODS, group=False, timeout_s=LIMIT_S)
    told = {
        f"{name} {settings or ''}": wrong for (name, settings, _), wrong in zip(METHODS, found, strict=True)
    }
    assert {name: wrong for name, wrong in told.items() if wrong} == {}


def left_on_the_host(value, like):
    return value.to(like.dtype)


def brought_with_a_wait(value, like):
    return value.to(like)


def planted(rank, world):
    """Faults of the kinds that were once there, one after the other."""
    from unittest import mock

    from tsal_dist.recipes import weighers
    from tsal_dist.recipes.labellers import Plain

    found: list[list[str]] = []
    for page, name, fault in (
        (weighers, "beside", left_on_the_host),
        (weighers, "beside", brought_with_a_wait),
        (Plain, "moments", lambda plain, evidence: torch.zeros(3)),
        (Plain, "moments", lambda plain, evidence: evidence.score_NSK.sum().item()),
    ):
        with mock.patch.object(page, name, fault):
            found += problems_of(0, 1, [("mean_teacher" if page is weighers else "multiaugs", {}, 1)])
    return found


def test_all_of_a_batch_goes_the_way_that_nobody_waits_for(monkeypatch):
    """Pictures are few and large, the rest is many and small: each waits alike, sent out of memory that is not pinned."""
    trial = Trial("dual_mean_teacher", {})
    names = [source.name for source in trial.recipe().sources]
    fresh_N = np.ones(len(trial.rows), np.float32)
    lane = SimpleNamespace(send=lambda array: torch.from_numpy(np.ascontiguousarray(array)).to("meta"))
    for page in (batches, device_view):
        monkeypatch.setattr(page, "lane_to", lambda device: lane)
    pseudo = batches.enter_view(trial.rows, trial.clips, names, fresh_N, torch.device("meta"))
    frames, evidence = vars(pseudo.frames), vars(pseudo.evidence)
    sent = [*frames.values(), *evidence.values(), *pseudo.evidence.more.values()]
    assert {value.device.type for value in sent if isinstance(value, torch.Tensor)} == {"meta"}
    assert set(pseudo.evidence.more) == set(names)


def test_it_sees_planted_faults():
    (left, brought, summed, asked) = run_ranks(planted, 1, group=False, timeout_s=LIMIT_S)[0]
    assert left[0].startswith("FakeTensorDeviceMismatchError at recipes/weighers.py")
    assert [word.partition(":")[0] for word in brought] == ["sent at recipes/weighers.py"]
    assert [word.partition(":")[0] for word in summed] == ["sent at dist/step_sums.py"]
    assert asked[0].startswith("DataDependentOutputException")


def sums_of_two_places(rank, world):
    register()
    with elsewhere([]):
        now = {"count": torch.ones((), device=NAME)}
        sums = StepSums()
        found = sums.reduce(now, {"moments": torch.zeros(2, 3)})
        return found["count"].device.type, sums.take_late()["moments"].device.type


def test_what_a_plugin_made_on_the_host_is_added_up_with_the_rest():
    assert run_ranks(sums_of_two_places, 1, group=False) == [(NAME, NAME)]
