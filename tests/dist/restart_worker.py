"""What torchrun runs in test_groups: two roles meet, each alone; the first attempt dies once all have met."""

import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from tsal_dist.dist.environment import read_environment
from tsal_dist.dist.groups import join_role, leave_role, open_launch_store
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.dist.topology import assign_roles

out = Path(sys.argv[1])
env = read_environment()
seat = assign_roles(env.world, env.local_world, "1")[env.rank]
if env.restart_count and seat.rank == 1:
    time.sleep(
        1.0
    )  # late: whoever trusts the keys of the attempt before has connected to a dead address by now
group = join_role(env, seat, open_launch_store(env, 20), 20, StopFlag(), use_gpu=False)
total = torch.tensor([env.rank + 1])
dist.all_reduce(total)
(out / f"{env.restart_count}-{group.role}-{group.rank}").write_text(f"{group.world} {total.item()}")

if env.restart_count == 0:
    while len(list(out.glob("0-*"))) < env.world:
        time.sleep(0.05)
    raise SystemExit(3 if group.role == "teacher" else 0)
leave_role()
