"""A training process that is slower than its machine: stands in for `python -m tsal_dist.train` in tools.bench.asynchrony.

    torchrun --nproc-per-node 2 -m tools.bench.slow_rank --cv .3 --slow 2 -- --config configs/demo.toml

After each piece of work (a student's step, a teacher's labelling) it sleeps, so that the piece takes --base times as
long as its own computing did, times a lognormal factor of mean 1 and coefficient of variation --cv, and in the last of
all processes times --slow. With --base above 1 luck can also be good. A process that sleeps leaves its core to others.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from tsal_dist.cli import run_entry


def main(argv: list[str]) -> int:
    """Put the sleep behind every piece of work, and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--base", type=float, default=2.0, help="how much slower everyone is (2)")
    parser.add_argument("--cv", type=float, default=0.3, help="how much that varies (0.3)")
    parser.add_argument("--slow", type=float, default=1.0, help="how much slower the last process is (1)")
    parser.add_argument("words", nargs="*", help="after --: the command line of tsal_dist.train")
    args = parser.parse_args(argv)
    import numpy as np

    from tsal_dist import train
    from tsal_dist.dist.environment import read_environment
    from tsal_dist.roles.student import Student
    from tsal_dist.roles.teacher import Teacher

    seat = read_environment()
    factor = args.base * (args.slow if seat.rank == seat.world - 1 else 1.0)
    rng = np.random.default_rng(seat.rank)
    sigma = float(np.sqrt(np.log1p(args.cv**2)))

    def pause(work_s: float) -> None:
        luck = factor * float(rng.lognormal(-(sigma**2) / 2, sigma))
        time.sleep(max(0.0, work_s * (luck - 1)))

    Student.step = _then(Student.step, pause)  # type: ignore[method-assign]
    Teacher.label = _then(Teacher.label, pause)  # type: ignore[method-assign]
    return train.main(args.words)


def _then(work: Callable[..., Any], pause: Callable[[float], None]) -> Callable[..., Any]:
    """`work`, and then a pause by the time that this process computed in it; waiting for others does not count."""

    def slowed(*args: Any) -> Any:
        begun = time.process_time()
        result = work(*args)
        pause(time.process_time() - begun)
        return result

    return slowed


if __name__ == "__main__":
    raise SystemExit(run_entry(main, sys.argv[1:]))
