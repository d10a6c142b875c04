"""Pack in one call, as the tool does."""

from tsal_dist.pack.execute import pack
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe


def plan_of(videos=(), lists=(), gather=None, **options):
    inputs = gather_inputs(lists, videos, **(gather or {}))
    defaults = {"split": "train", "shard_frames": 10}
    return build_plan(inputs, [probe(one) for one in inputs], PackOptions(**(defaults | options)))


def pack_all(out, videos=(), lists=(), gather=None, workers=1, run=None, **options):
    plan = plan_of(videos, lists, gather, **options)
    return pack(plan, f"{out}/{plan.options.split}", workers=workers, **(run or {}))
