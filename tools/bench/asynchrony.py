"""Asynchrony, measured against synchronous training on the same cores, with the same models and batches.

    python -m tools.bench.asynchrony
    python -m tools.bench.asynchrony --quick
    python -m tools.bench.asynchrony --rows accuracy --steps 300 --seeds 3

The baseline is `inline` under DDP, two ranks on two cores: each labels its share with the teacher, then trains on it,
and all meet. Ours is `split` with the same global batch, so that a step is the same work. Processes have one thread
and one core each. Both sides stay up; in turns one works while the other is held, and only whole steps count.

equal       every label trained on once, a teacher of 1, 4 and 8 views; the split that plan advises. Two processes can
            be split in one way only; where that leaves a core idle, a teacher and a student share each core
stragglers  the same at 1 view, where every piece of work takes a lognormal time (cv 0.3) and the last process, which
            teaches in ours, is at half speed
reuse       each label trained on up to 4 times; 8 views and sixteen unlabelled frames per labelled one: a teacher
            is nearly four times as busy as a student. The aim is a share of (S + T) / (S + T/4), S and T being the
            seconds for a clip; `plan` says how much of that a split into two whole processes leaves
accuracy    wall time to the synchronous run's final error on held-out people, with 8 views and up to 4 uses of a label;
            ours may take half as many steps again, its learning rate falling accordingly (long, so only when asked for)
stall       the student's time spent on waiting for labels: with its teacher, and after the teacher was killed
plan        all the gains above, predicted from the baseline's S and T before ours was started

Prints a line for each and one of JSON.
"""

import argparse
import json
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    from tools.bench.paired_benchmark import PairedResult
    from tsal_dist.planning.processes import MeasuredProcesses
    from tsal_dist.planning.split import Costs, Forecast, Prediction, Split

ROWS = ("equal", "stragglers", "reuse", "stall", "accuracy")
AIM_EQUAL, AIM_STRAGGLERS, AIM_REUSE, AIM_ACCURACY, AIM_PLAN, AIM_STALL = 0.95, 1.3, 0.9, 1 / 0.75, 0.1, 0.01
PROCS, CLIP_FRAMES, PUBLISH_EVERY = 2, 4, 10
REUSE = 4
MORE_STEPS = 1.5
"""Steps of ours for one of the baseline's, where the way to an error is measured: labels that are used again teach less."""
CV, SLOW, BASE = 0.3, 2.0, 2.0
"""Of `stragglers`: how much times vary, how much slower the last process is, and all of them, so that luck can be good."""
SLOWED = ("-m", "tools.bench.slow_rank", f"--base={BASE}", f"--cv={CV}", f"--slow={SLOW}", "--")
FULL_USE = 0.95
"""A split that is predicted to reach this share of the baseline leaves no core idle."""
START_S = 180.0
MOST_VIEWS = 8
"""There are no more; `reuse` and `accuracy` need a heavy teacher."""


@dataclass
class Bench:
    """What all rows need, and what came of them."""

    folder: Path
    data: list[str]
    batch: int
    """Pseudo-labelled frames per synchronous rank and step."""
    labelled: int
    """Labelled ones."""
    rounds: int
    window_s: float
    quick: bool = False
    results: "list[PairedResult]" = field(default_factory=list)
    predictions: "list[Prediction]" = field(default_factory=list)
    costs: "dict[str, Costs]" = field(default_factory=dict)
    """By row and views."""
    stall: dict[str, float] = field(default_factory=dict)

    def words(self, split: "Split | None", views: int, *settings: str, procs: int = PROCS) -> list[str]:
        """A run of the same global batch: synchronous without a split."""
        from tsal_dist.planning.costs import STEADY

        students = split.students if split else procs
        rows = self.batch * PROCS  # a segment is what a step trains on
        return [
            "--config=configs/demo.toml",
            *STEADY,
            *self.data,
            f"train.labelled_batch={self.labelled * PROCS // students}",
            f"train.unlabelled_batch={self.batch * PROCS // students}",
            f"method.views={views}",
            "train.gate.enabled=false",
            "train.loss.headroom=false",
            f"runtime.topology={'split' if split else 'inline'}",
            f"runtime.teachers={split.teachers if split else 1}",
            f"runtime.weights.publish_every={PUBLISH_EVERY}",
            f"runtime.queue.segment_rows={rows}",
            f"runtime.queue.high_water_rows={8 * rows}",
            f"runtime.queue.low_water_rows={4 * rows}",
            "runtime.queue.on_starvation=wait",
            *settings,
        ]

    def start(
        self, name: str, words: Sequence[str], procs: int, entry: Sequence[str] = ()
    ) -> "MeasuredProcesses":
        from tsal_dist.planning.processes import TRAIN, MeasuredProcesses

        return MeasuredProcesses(self.folder / name, words, procs, entry or TRAIN)

    def find_costs(self, team: "MeasuredProcesses", procs: int = PROCS) -> "Costs":
        """What a clip costs, read off a synchronous team as tools/plan.py does."""
        from tsal_dist.planning.costs import WARM_STEPS, read_costs

        team.wait_for_step(WARM_STEPS, START_S)
        lines = team.watch(self.window_s, least=PUBLISH_EVERY * (1 if self.quick else 3))
        clips = self.batch * PROCS // procs // CLIP_FRAMES
        return read_costs(lines, clips, PUBLISH_EVERY, PUBLISH_EVERY)

    def compare(
        self,
        name: str,
        views: int,
        choose: "Callable[[Costs], list[Forecast]]",
        aim: "Callable[[Costs], float]",
        settings: Sequence[str] = (),
        entry: Sequence[str] = (),
    ) -> None:
        """Ours as `choose` predicts it, the first of them judged by `aim`, in turns with the baseline."""
        from tsal_dist.planning.processes import take_turns

        title = f"{name}, {views} view{'s' if views > 1 else ''}"
        synchronous = self.words(None, views)
        with self.start(f"{name}-{views}-lone", self.words(None, views, procs=1), 1) as team:
            lone = self.find_costs(team, 1)
        with ExitStack() as leaving:
            if entry:  # which sleeps, and costs are those of the work
                with self.start(f"{name}-costs", synchronous, PROCS) as team:
                    costs = self.find_costs(team)
            baseline = leaving.enter_context(self.start(f"{name}-{views}", synchronous, PROCS, entry))
            if entry:
                baseline.wait_for_step(3, START_S)
            else:
                costs = self.find_costs(baseline)
            baseline.hold()
            costs = self.costs[title] = replace(costs, lone=lone)
            forecasts = choose(costs)
            ours = []
            for forecast in forecasts:
                split = forecast.split
                team = self.start(
                    f"{name}-{views}-{split.students}-{split.teachers}",
                    self.words(split, views, *settings),
                    split.students + split.teachers,
                    entry,
                )
                ours.append(leaving.enter_context(team))
                team.wait_for_step(4 + 8 * forecast.reuse, START_S)  # its store of labels is as it will be
                team.hold()
            rates = take_turns([baseline, *ours], self.rounds, self.window_s, self.batch * PROCS)
        for place, forecast in enumerate(forecasts, 1):
            pairs = list(zip(rates[place], rates[0], strict=True))
            self._judge(f"{title}, {forecast.split.words()}", forecast, pairs, aim(costs), place == 1)

    def _judge(
        self, title: str, forecast: "Forecast", pairs: list[tuple[float, float]], aim: float, advised: bool
    ) -> None:
        from tools.bench.paired_benchmark import settle
        from tsal_dist.planning.split import Prediction

        result = settle(title, aim, pairs)
        if advised:
            self.results.append(result)
            print(result.line(), flush=True)
        self.predictions.append(Prediction(title, forecast.gain, result.ratio))
        print(f"  {self.predictions[-1].line(AIM_PLAN)}", flush=True)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)} (all but accuracy)")
    add("--views", type=int, nargs="+", default=[1, 4, 8], metavar="N", help="teachers of `equal` (1 4 8)")
    add("--rounds", type=int, default=5, metavar="N", help="rounds of each comparison (5)")
    add("--seconds", type=float, default=4.0, metavar="S", help="of each turn (4)")
    add("--batch", type=int, default=8, metavar="N", help="frames of either kind per synchronous rank (8)")
    add("--steps", type=int, default=300, metavar="N", help="of `accuracy` (300)")
    add("--seeds", type=int, default=3, metavar="N", help="of `accuracy` (3)")
    add(
        "--quick",
        action="store_true",
        help="one short round of `equal` at 8 views and of `stall`: does it run?",
    )
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.quick:
        args.rows, args.views = args.rows or ["equal", "stall"], [8]
        args.rounds, args.seconds, args.batch = 1, 1.0, 4
    from tools.bench.paired_benchmark import describe_system

    signal.signal(signal.SIGTERM, _leave)  # held processes must not outlive this one
    rows = args.rows or [row for row in ROWS if row != "accuracy"]
    with tempfile.TemporaryDirectory(prefix="bench-async-") as folder:
        place = Path(folder)
        data = make_data(place, 8 if args.quick else 24)
        bench = Bench(place, data, args.batch, args.batch, args.rounds, args.seconds, args.quick)
        if "equal" in rows:
            for views in args.views:
                compare_equal(bench, views)
        if "stragglers" in rows:
            compare_stragglers(bench)
        if "reuse" in rows:
            compare_reuse(bench)
        if "stall" in rows:
            measure_stall(bench)
        if "accuracy" in rows:
            compare_accuracy(bench, args.steps, args.seeds)
    settings = {name: getattr(args, name) for name in ("rounds", "seconds", "batch", "steps", "seeds")}
    record = {
        "bench": "async",
        "results": [asdict(each) for each in bench.results],
        "plan": [asdict(each) | {"error": each.error} for each in bench.predictions],
        "costs": {title: asdict(costs) for title, costs in bench.costs.items()},
        "stall": bench.stall,
        "settings": settings | {"rows": rows, "quick": args.quick},
        "system": describe_system(),
    }
    print(json.dumps(record))
    return 0


def compare_equal(bench: Bench, views: int) -> None:
    from tsal_dist.planning.split import Split, forecast

    def choose(costs: "Costs") -> "list[Forecast]":
        apart = forecast(costs, Split(1, 1))
        if apart.gain >= FULL_USE or bench.quick:
            return [apart]
        return [forecast(costs, Split(PROCS, PROCS, shared=True)), apart]

    bench.compare("equal work", views, choose, lambda _: AIM_EQUAL)


def compare_stragglers(bench: Bench) -> None:
    from tsal_dist.planning.split import Luck, Split, forecast

    replace(bench, window_s=2 * bench.window_s).compare(
        "stragglers",
        1,
        lambda costs: [forecast(slower(costs), Split(1, 1), luck=Luck(CV, SLOW))],
        lambda _: AIM_STRAGGLERS,
        entry=SLOWED,
    )


def slower(costs: "Costs") -> "Costs":
    """Where all work takes BASE times as long, and meetings as long as ever."""
    from tsal_dist.planning.split import Costs

    lone = costs.lone or costs
    return Costs(
        costs.student_s + (BASE - 1) * lone.student_s,
        costs.teacher_s + (BASE - 1) * lone.teacher_s,
        lone=Costs(BASE * lone.student_s, BASE * lone.teacher_s),
    )


def compare_reuse(bench: Bench) -> None:
    from tsal_dist.planning.split import Split, forecast, ideal_gain

    # Longer turns: where a segment is used four times, labels come in bursts of several steps.
    heavy = replace(
        bench, batch=2 * bench.batch, labelled=max(1, bench.batch // 8), window_s=2 * bench.window_s
    )
    heavy.compare(
        "reuse",
        MOST_VIEWS,
        lambda costs: [forecast(costs, Split(1, 1), reuse=REUSE)],
        lambda costs: AIM_REUSE * ideal_gain(costs, REUSE),
        ["runtime.queue.on_starvation=reuse", f"runtime.queue.max_reuse={REUSE}"],
    )


def measure_stall(bench: Bench) -> None:
    from tsal_dist.planning.processes import share
    from tsal_dist.planning.split import Split

    words = bench.words(Split(1, 1), 1, "runtime.queue.on_starvation=reuse")
    with bench.start("stall", words, PROCS) as team:
        team.wait_for_step(12, START_S)
        bench.stall["healthy"] = share(team.watch(2 * bench.window_s), "wait")
        team.kill(rank=1)
        bench.stall["teacher killed"] = share(team.watch(2 * bench.window_s), "wait")
    for name, found in bench.stall.items():
        verdict = "meets" if found <= AIM_STALL else "MISSES"
        print(f"stall, {name}: {found:.2%} of the student's time, {verdict} {AIM_STALL:.0%}", flush=True)


def compare_accuracy(bench: Bench, steps: int, seeds: int) -> None:
    """Whole runs, one after the other; every second seed ours goes first."""
    from tools.bench.paired_benchmark import settle
    from tsal_dist.planning.split import Split

    bench.data = make_data(bench.folder / "people", 96)
    bench.batch, bench.labelled = 16, 8
    pairs = []
    for seed in range(seeds):
        curves = {}
        for ours in (True, False) if seed % 2 else (False, True):
            curves[ours] = train_whole(
                bench, Split(1, 1) if ours else None, steps, seed, MORE_STEPS if ours else 1
            )
        target = curves[False][-1][1]
        theirs_s, mine_s = time_to(target, curves[False]), time_to(target, curves[True])
        print(
            f"  seed {seed}: NME {target:.4f} after {theirs_s:.0f} s, ours after {mine_s:.0f} s "
            f"(in the end {curves[True][-1][1]:.4f} after {curves[True][-1][0]:.0f} s)",
            flush=True,
        )
        pairs.append((1 / mine_s, 1 / theirs_s))
    bench.results.append(settle(f"to accuracy, {MOST_VIEWS} views", AIM_ACCURACY, pairs))
    print(bench.results[-1].line(), flush=True)


def train_whole(
    bench: Bench, split: "Split | None", steps: int, seed: int, more: float
) -> list[tuple[float, float]]:
    """Seconds since its first step, and error, at every evaluation of a run."""
    last = round(more * steps)
    settings = [
        f"train.steps={last}",
        f"train.burn_in_steps={steps // 4}",
        "train.loss.unlabelled=1",
        "train.gate.enabled=true",
        "train.gate.slack=0.05",
        f"train.seed={seed}",
        "runtime.queue.on_starvation=reuse",
        f"runtime.queue.max_reuse={REUSE}",
        f"runtime.log.evaluate_every={max(1, steps // 12)}",
    ]
    name = f"accuracy-{seed}-{'split' if split else 'sync'}"
    words = bench.words(split, MOST_VIEWS, *settings)
    with bench.start(name, words, PROCS) as team:
        team.wait_for_step(1, START_S)
        team.wait_for_score(last, timeout_s=60.0 + 10.0 * last)
        lines = team.every_line()
    begun = lines[0]["time"]
    return [(line["time"] - begun, line["validation/nme"]) for line in lines if "validation/nme" in line]


def time_to(target: float, curve: Sequence[tuple[float, float]]) -> float:
    """When an error was first as low as that; infinite where it never was."""
    return next((seconds for seconds, error in curve if error <= target), float("inf"))


def make_data(folder: Path, videos: int) -> list[str]:
    """Render and pack synthetic people; the settings that name them."""
    from tools.bench.made_faces import make_faces
    from tsal_dist.pack.packing_plan import PackOptions
    from tsal_dist.synthetic.dataset import DatasetSpec

    few = PackOptions("train", labelled=0.2 if videos < 50 else 0.05, labelled_by="video")
    return make_faces(folder, DatasetSpec(videos, 16, 160, seed=1, labelled=1.0), few, PROCS)


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
