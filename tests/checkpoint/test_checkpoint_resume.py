"""2N steps equal N steps, kill -9, resume and N steps: to the bit, random numbers included."""

import copy
import os
import signal

import pytest
import torch

from tests.checkpoint.equality import equal
from tests.engine.tiny import OPTIM, build_batch, build_net, share, take_step
from tests.ranks import RankFailed, run_ranks
from tsal_dist.config.runtime import EngineConfig

HALF = 3


def train(rank, world, folder, kind, stage, die_at=None):
    """Train to step 2N from wherever the folder says; noise on the images draws from the rank's generators."""
    from tsal_dist.checkpoint.rng import capture_rng, restore_rng, seed_rng
    from tsal_dist.checkpoint.store import Checkpoints
    from tsal_dist.dist.environment import present_role
    from tsal_dist.engine.choose import build_engine

    present_role(rank, world, 0)
    settings = EngineConfig(kind=kind, zero_stage=stage)
    engine = build_engine(build_net("batch"), settings, OPTIM, 50, torch.device("cpu"))
    store = Checkpoints(folder, {"net": "tiny"}, keep=2, rank=rank, world=world)
    latest = store.latest_committed()
    seed_rng(0, latest or 0, rank)
    if latest is not None:
        loaded = store.load(latest)
        engine.load_state_dict(loaded.state["engine"])
        if loaded.rank_state:
            restore_rng(loaded.rank_state["rng"])
    while engine.steps < 2 * HALF:
        if engine.steps == HALF and latest is None:
            store.save(HALF, {"engine": engine.state_dict()}, {"rng": capture_rng()})
        if engine.steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        images, wanted = share(build_batch(engine.steps), rank, world)
        take_step(engine, (images + 0.1 * torch.randn_like(images), wanted))
    return copy.deepcopy(engine.state_dict()), capture_rng()


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("ddp", 0),
        pytest.param("deepspeed", 1, marks=pytest.mark.slow),
        pytest.param("deepspeed", 3, marks=pytest.mark.slow),
    ],
)
def test_resuming_after_kill_9_is_going_on(tmp_path, kind, stage):
    straight = run_ranks(train, 2, tmp_path / "straight", kind, stage, timeout_s=240)
    with pytest.raises(RankFailed, match="exit code -9"):
        run_ranks(train, 2, tmp_path / "killed", kind, stage, HALF + 2, timeout_s=240)
    resumed = run_ranks(train, 2, tmp_path / "killed", kind, stage, timeout_s=240)
    assert equal(resumed, straight)


@pytest.mark.ranks
def test_another_number_of_ranks_goes_on_with_new_noise(tmp_path):
    with pytest.raises(RankFailed, match="exit code -9"):
        run_ranks(train, 2, tmp_path, "ddp", 0, HALF + 1)
    once, again = (run_ranks(train, 1, tmp_path, "ddp", 0)[0] for _ in range(2))
    assert once[0]["steps"] == 2 * HALF
    assert equal(once, again)
    assert not equal(once, run_ranks(train, 2, tmp_path, "ddp", 0)[0])
