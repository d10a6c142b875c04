"""How the queue's protocol behaves where no test can go: thousands of ranks, NFS and S3 latencies. A simulation.

    python tools/simulate_queue.py
    python tools/simulate_queue.py --teachers 1000 --students 4000 --store nfs --threads 16

It plays the protocol's own schedule: teachers commit segments, the planner polls every live log and inspects every
segment before it plans, ranks read the segments of their rows. A store is a latency per operation and a ceiling of
operations and bytes per second, which all of them share. Nothing here is measured on a real NFS or S3; the numbers of
a mount come from `label_queue.py doctor`, and every parameter of a store can be set. What comes out per row:

ops/s       operations per second that the run asks of the store, and their share of its ceiling
poll s      time from one look at all logs to the next
planner     share of rank 0's time that planning needs, in the thread that trains; from 1 on it falls behind
rings       share of a step that an all-reduce and a broadcast of a few bytes take: gloo passes the first around a ring,
            the other down a tree, whatever the backend of the gradients
pace        student steps per second, as a share of those asked for: what planner and rings leave
late s      commit to plan: median and 99th percentile
MB/s        through the store: written, inspected, read by the ranks; once for each machine where it has a page cache
plan kB     what rank 0 broadcasts per step, about 90 bytes per range of rows
bends       the first of: store (operations), bandwidth, planner, rings, latency (later than the flush interval), or
            nothing
"""

import argparse
import heapq
import json
import math
import random
from dataclasses import asdict, dataclass, replace

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError
from tsal_dist.exchange.beat import OTHER_RANKS


@dataclass(frozen=True)
class StoreModel:
    """What one store costs."""

    name: str
    op_ms: float
    ops_per_s: float
    bytes_per_s: float
    records_are_objects: bool
    """Whether a record is an object, since nothing can be appended to, and a poll is a listing."""


@dataclass(frozen=True)
class Load:
    """What a run asks for."""

    teachers: int
    students: int
    segment_rows: int
    flush_s: float
    row_bytes: int
    inspect_ms: float
    threads: int
    poll_s: float
    rows_per_rank: int
    beat_s: float
    steps_per_s: float
    hop_us: float
    machine_ranks: int

    @property
    def reads_per_segment(self) -> float:
        """A segment's rows go to neighbouring ranks, each of which reads the file whole."""
        return self.segment_rows / self.rows_per_rank + 1

    @property
    def machines_per_segment(self) -> float:
        return min(self.reads_per_segment, self.segment_rows / (self.rows_per_rank * self.machine_ranks) + 1)

    @property
    def rings_s(self) -> float:
        """What small collectives take of every step: a hop from each rank to the next, twice around."""
        tree = math.ceil(math.log2(max(2, self.students)))
        return (RINGS_PER_STEP * 2 * (self.students - 1) + tree) * self.hop_us / 1e6


@dataclass(frozen=True)
class Outcome:
    """What the simulation found."""

    teachers: int
    students: int
    store: str
    threads: int
    segments_per_s: float
    ops_per_s: float
    store_share: float
    mb_per_s: float
    bandwidth_share: float
    plan_kb: float
    poll_s: float
    planner_share: float
    rings_share: float
    pace: float
    late_median_s: float
    late_p99_s: float
    bends: str


LEAST_SHARE = 0.1  # an overloaded store is named as such, how slow it then is means nothing
RANGE_BYTES = 90
# The stop flag. What else a step adds up over ranks travels with its tensors: by NCCL, on GPUs.
RINGS_PER_STEP = 1
# Claims are listed and the beat replaced; rank 0 also reads the other role's hello and beat.
BEAT_CALLS, FIRST_RANK_CALLS = 2, 4
STORES = {
    "local": StoreModel("local", 0.02, 200_000, 2e9, False),
    "nfs": StoreModel("nfs", 1.0, 50_000, 2e9, False),
    "s3": StoreModel("s3", 30.0, 5_500, 1e10, True),
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--teachers", type=int, metavar="N", help="one size only (default: a table of sizes)")
    add("--students", type=int, metavar="N", help="with --teachers (default: four per teacher)")
    add("--store", choices=sorted(STORES), help="one store only (default: all)")
    add("--op-ms", type=float, metavar="MS", help="latency of an operation (default: the store's)")
    add("--ops-per-s", type=float, metavar="N", help="ceiling of the store (default: the store's)")
    add("--threads", type=int, metavar="N", help="reads in flight; the code has 1 (default: 1 and 32)")
    add("--segment-rows", type=int, default=256, metavar="N", help="rows of a segment (default: 256)")
    add(
        "--flush-s",
        type=float,
        default=5.0,
        metavar="S",
        help="between two commits of a teacher (default: 5)",
    )
    add("--row-bytes", type=int, default=800, metavar="N", help="bytes of a row (default: 800)")
    add(
        "--inspect-ms", type=float, default=0.5, metavar="MS", help="CPU per inspected segment (default: 0.5)"
    )
    add("--poll-s", type=float, default=0.5, metavar="S", help="pause between two polls (default: 0.5)")
    add("--rows-per-rank", type=int, default=64, metavar="N", help="rows of a rank and step (default: 64)")
    add("--beat-s", type=float, default=1.0, metavar="S", help="runtime.deadlines.beat_s (default: 1)")
    add("--steps-per-s", type=float, default=10.0, metavar="N", help="of the students (default: 10)")
    add("--hop-us", type=float, default=30.0, metavar="US", help="from one rank to the next (default: 30)")
    add("--machine-ranks", type=int, default=8, metavar="N", help="students on a machine (default: 8)")
    add("--seconds", type=float, default=60, metavar="S", help="simulated time (default: 60)")
    add("--json", action="store_true", help="one JSON document instead of a table (default: off)")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.seconds <= 2 * args.flush_s:
        raise ConfigError(
            f"--seconds {args.seconds:g} is too short to see two commits {args.flush_s:g} s apart."
        )
    sizes = (
        [(args.teachers, args.students or 4 * args.teachers)]
        if args.teachers
        else [(8, 32), (64, 256), (1000, 4000)]
    )
    stores = [STORES[args.store]] if args.store else list(STORES.values())
    outcomes = []
    for store in stores:
        model = replace(store, op_ms=args.op_ms or store.op_ms, ops_per_s=args.ops_per_s or store.ops_per_s)
        for teachers, students in sizes:
            for threads in [args.threads] if args.threads else [1, 32]:
                load = Load(
                    teachers,
                    students,
                    args.segment_rows,
                    args.flush_s,
                    args.row_bytes,
                    args.inspect_ms,
                    threads,
                    args.poll_s,
                    args.rows_per_rank,
                    args.beat_s,
                    args.steps_per_s,
                    args.hop_us,
                    args.machine_ranks,
                )
                outcomes.append(simulate(load, model, args.seconds))
    if args.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    else:
        _print_table(outcomes)
    return 0


def simulate(load: Load, store: StoreModel, seconds: float, seed: int = 0) -> Outcome:
    """Play `seconds` of the run: commits as events, the planner as one worker with `threads` reads in flight."""
    dice = random.Random(seed)
    asked = _operations_per_s(load, store, load.poll_s)
    commits = [(dice.uniform(0, load.flush_s), teacher) for teacher in range(load.teachers)]
    heapq.heapify(commits)
    now = busy_s = 0.0
    late: list[float] = []
    polls: list[float] = []
    while now < seconds:
        op_s = _operation_s(store, asked)
        # A round has at most `threads` operations in flight, and never more per second than the store gives.
        poll_s = load.teachers * max(op_s / load.threads, 1 / store.ops_per_s)
        seen_until = now + poll_s
        new = []
        while commits[0][0] <= seen_until:
            at, teacher = heapq.heappop(commits)
            new.append(at)
            heapq.heappush(commits, (at + load.flush_s * dice.uniform(0.9, 1.1), teacher))
        reads = 2 if store.records_are_objects else 1  # the record, then the segment
        each_s = max(reads * op_s / load.threads, load.inspect_ms / 1000)
        work_s = poll_s + len(new) * each_s
        late += [now + poll_s + (place + 1) * each_s - at for place, at in enumerate(sorted(new))]
        busy_s += work_s
        pause_s = max(0.0, load.poll_s - work_s)
        polls.append(work_s + pause_s)
        now += work_s + pause_s
        asked = _operations_per_s(load, store, polls[-1])
    segments_per_s = load.teachers / load.flush_s
    readers = load.reads_per_segment if store.records_are_objects else load.machines_per_segment
    bandwidth = segments_per_s * load.segment_rows * load.row_bytes * (2 + readers)
    planner_share, rings_share = _planner_share(load, store, asked), load.rings_s * load.steps_per_s
    late.sort()
    outcome = Outcome(
        load.teachers,
        load.students,
        store.name,
        load.threads,
        segments_per_s,
        asked,
        asked / store.ops_per_s,
        bandwidth / 1e6,
        bandwidth / store.bytes_per_s,
        load.students * (1 + load.rows_per_rank / load.segment_rows) * RANGE_BYTES / 1000,
        sum(polls) / len(polls),
        planner_share,
        rings_share,
        max(0.0, 1 - planner_share) / (1 + rings_share),
        late[len(late) // 2],
        late[math.ceil(0.99 * len(late)) - 1],
        "",
    )
    return replace(outcome, bends=_first_bend(outcome, load))


def _operation_s(store: StoreModel, asked: float) -> float:
    """Seconds of one operation: the nearer the store is to its ceiling, the longer each one queues (M/M/1)."""
    return store.op_ms / 1000 / max(LEAST_SHARE, 1 - asked / store.ops_per_s)


def _operations_per_s(load: Load, store: StoreModel, poll_every_s: float) -> float:
    """Polls, publications (data, record), inspections, reads of the ranks, heartbeats."""
    segments_per_s = load.teachers / load.flush_s
    per_segment = 2 + 1 + int(store.records_are_objects) + load.reads_per_segment
    others = load.teachers + load.students - 2
    beats = (2 * FIRST_RANK_CALLS + others * BEAT_CALLS / OTHER_RANKS) / load.beat_s
    return load.teachers / poll_every_s + segments_per_s * per_segment + beats


def _planner_share(load: Load, store: StoreModel, asked: float) -> float:
    """Work per second of the run that cannot wait: every log once per flush interval, every segment once."""
    op_s = _operation_s(store, asked)
    reads = 2 if store.records_are_objects else 1
    inspect_s = load.teachers / load.flush_s * max(reads * op_s / load.threads, load.inspect_ms / 1000)
    return inspect_s + load.teachers * op_s / load.threads / load.flush_s


def _first_bend(outcome: Outcome, load: Load) -> str:
    if outcome.store_share >= 1:
        return "store"
    if outcome.bandwidth_share >= 1:
        return "bandwidth"
    if outcome.planner_share >= 1:
        return "planner"
    if outcome.rings_share >= 1:
        return "rings"
    return "latency" if outcome.late_p99_s > load.flush_s else "-"


def _print_table(outcomes: list[Outcome]) -> None:
    print(
        f"{'store':6} {'teachers':>8} {'students':>8} {'threads':>7} {'segments/s':>10} {'ops/s':>8} {'share':>6} "
        f"{'MB/s':>6} {'plan kB':>7} {'poll s':>7} {'planner':>8} {'rings':>6} {'pace':>5} {'late s':>7} {'p99':>7}  bends"
    )
    for each in outcomes:
        print(
            f"{each.store:6} {each.teachers:8} {each.students:8} {each.threads:7} {each.segments_per_s:10.1f} "
            f"{each.ops_per_s:8.0f} {each.store_share:6.0%} {each.mb_per_s:6.0f} {each.plan_kb:7.0f} {each.poll_s:7.2f} {each.planner_share:8.2f} {each.rings_share:6.2f} {each.pace:5.0%} "
            f"{each.late_median_s:7.2f} {each.late_p99_s:7.2f}  {each.bends}"
        )


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
