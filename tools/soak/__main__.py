"""Train for a while under kills, stalls, full disks, clock jumps and corrupted files; then close the books.

    python -m tools.soak --minutes 20 --seed 1
    python -m tools.soak --minutes 3 --seed 7 --run runs/soak --keep

A small run of configs/demo.toml on synthetic faces, each role a torchrun of its own that is started again whenever it
ends. The schedule is a function of minutes and seed. A line tells of every injury; a run that is over before the injuries
are is extended; then they stop, the run is left to finish, and it is checked that no row of labels was lost or trained
on too often or too late, that every corrupted segment was reported and none taught, that losses are finite, and that
memory and descriptors stayed flat: over every process's life after its first 45 s, if it is a minute or longer, the
median slope (Theil-Sen) must not gain more than 32 MB or 8 % of memory, nor more than 6 descriptors. What was killed is
timed until it is at work again.

It is also meddled with: a student wakes up beside its successor, files that are no producer's lie in the queue, control
files are damaged, somebody calls --clean, a start finds other shards under the same path, or a listing that is seconds
old. A full disk (of all that a run writes) needs root for a tmpfs, clocks that jump and stale listings need a C compiler;
what is missing is left out and said so. A disk that is slow is a process that stands still: SIGSTOP, for seconds or past
the deadline after which its peer calls it lost. Exit code 0 if nothing was found, 1 otherwise.
"""

import argparse
from pathlib import Path

from tsal_dist.cli import run_entry


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=20.0, metavar="M", help="how long it is hurt (default: 20)")
    add("--seed", type=int, default=0, metavar="K", help="of the schedule (default: 0)")
    add(
        "--run",
        type=Path,
        metavar="DIR",
        help="an empty or new folder for everything (default: a temporary one)",
    )
    add("--students", type=int, default=1, metavar="N", help="processes of the student (default: 1)")
    add("--teachers", type=int, default=1, metavar="N", help="processes of the teacher (default: 1)")
    add(
        "--steps", type=int, metavar="N", help="length of the run (default: what fits, by a short run before)"
    )
    add("--keep", action="store_true", help="keep the folder also where nothing was found")
    args = parser.parse_args(argv)

    from tools.soak.session import soak

    return soak(args)


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
