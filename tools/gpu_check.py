"""Does the GPU path run, is it right, how fast is it, and what waits for what? One device, under eight minutes.

    python -m tools.gpu_check --to gpu_check.md
    python -m tools.gpu_check --device cpu --small          # does the check itself run?

Each part runs in a process of its own, on data that it makes, and prints rows of a Markdown table: a part that breaks, or
takes a device down with it, ends no other. What is not measured says so. Exit code 1 where a part failed.

machine    names and versions
parity     the same net and decoding on the device as on the CPU, in pixels; the device's views against the readers'
readers    frames per second by reader processes, of 720p frames and of face crops, views taken there or left raw
student    the student's forward, terms and optimiser against a bare loop on data in memory; what they ask of the device
steps      the whole step of every method, as a run takes it: what of it waits for the device
labelling  a teacher's labels by tracker against the bare forward pass
compile    the student's step compiled, against itself
split      a teacher and two students that share the device, as a whole run; then each method with its teacher beside it
deepspeed  a supervised run with ZeRO 1
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tools.gpu.made_data import made_shards, open_stream
from tsal_dist.cli import run_entry
from tsal_dist.errors import ExitCode

if TYPE_CHECKING:
    import torch

    from tsal_dist.engine.api import Engine
    from tsal_dist.recipes.api import Source, Task
    from tsal_dist.recipes.frames import Frames
    from tsal_dist.trackers.flow import Tracker

BUDGET_S = 460.0
STEPS = 8
"""That are taken in one go, before anybody waits for the device."""


class Row(NamedTuple):
    """One line of the table."""

    part: str
    what: str
    value: str
    aim: str = ""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--device", default="cuda", help="where torch computes (default: cuda)")
    add(
        "--detectors", nargs="+", default=["cpm_vgg16", "hrnet_w18"], help="nets to look at (both large ones)"
    )
    add("--crop", type=int, default=256, metavar="PX", help="side of a crop (256)")
    add(
        "--batch",
        type=int,
        default=32,
        metavar="N",
        help="labelled frames of a step, and unlabelled ones (32)",
    )
    add("--seconds", type=float, default=4.0, metavar="S", help="of each measurement (4)")
    add("--small", action="store_true", help="a small net, small crops, moments: does it run?")
    add("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="which (all)")
    add("--budget", type=float, default=BUDGET_S, metavar="S", help=f"seconds in all ({BUDGET_S:g})")
    add("--to", type=Path, metavar="FILE", help="write the table there, too")
    add("--one", choices=list(PARTS), help=argparse.SUPPRESS)
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.small:
        args.detectors, args.crop, args.batch, args.seconds = ["lite"], 64, 4, 0.2
    if args.one:
        for row in PARTS[args.one](args):
            print(json.dumps(row), flush=True)
        return 0
    begun, rows, failed = time.monotonic(), [], False
    for part in args.parts:
        left_s = args.budget - (time.monotonic() - begun)
        found, fine = run_part(part, argv, left_s)
        failed |= not fine
        rows += found
        sys.stderr.write(f"{part}: {time.monotonic() - begun:.0f} s\n")
    table = "\n".join(format_table(rows))
    print(table)
    if args.to:
        args.to.write_text(table + "\n")
    return ExitCode.FAILED if failed else 0


def run_part(part: str, argv: list[str], left_s: float) -> tuple[list[Row], bool]:
    """Its rows, and whether it came to its end."""
    if left_s <= 0:
        return [Row(part, "the part", "not measured: the time was up")], True
    words = [sys.executable, "-m", "tools.gpu_check", *argv, "--one", part]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=left_s, check=False)
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        rest = Row(part, "the rest of the part", f"not measured: it took more than {left_s:.0f} s")
        return [*_rows_in(said), rest], False
    rows = _rows_in(done.stdout)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["not a word"])[-1]
        rows.append(Row(part, "the part", f"FAILED: {last[:200]}"))
    return rows, not done.returncode


def _rows_in(said: str) -> list[Row]:
    """The whole lines among a part's words."""
    whole = said[: said.rfind("\n") + 1]
    return [Row(*json.loads(line)) for line in whole.splitlines() if line.startswith("[")]


def format_table(rows: list[Row]) -> Iterator[str]:
    yield "| part | what | found | aim |"
    yield "|---|---|---:|---:|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def machine(args: argparse.Namespace) -> Iterator[Row]:
    import os

    import cv2
    import torch

    yield Row(
        "machine",
        "Python, torch, OpenCV",
        f"{sys.version.split()[0]}, {torch.__version__}, {cv2.__version__}",
    )
    yield Row("machine", "cores", str(len(os.sched_getaffinity(0))))
    if args.device == "cpu":
        yield Row("machine", "device", "CPU: not measured on a GPU")
        return
    yield Row("machine", "device", torch.cuda.get_device_name())
    versions = (torch.version.cuda, torch.backends.cudnn.version(), torch.cuda.nccl.version())  # type: ignore[no-untyped-call]
    yield Row("machine", "CUDA, cuDNN, NCCL", ", ".join(map(str, versions)))


def parity(args: argparse.Namespace) -> Iterator[Row]:
    import torch

    from tsal_dist.config.runtime import EngineConfig
    from tsal_dist.engine.inference import Inference
    from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
    from tsal_dist.models.detectors import build_detector, stride_of
    from tsal_dist.models.input import normalize

    device = torch.device(args.device)
    for name in args.detectors:
        torch.manual_seed(0)
        model = build_detector(name, 68)
        stride, image = (
            stride_of(model),
            torch.randint(0, 255, (4, args.crop, args.crop, 3), dtype=torch.uint8),
        )
        want = Inference(model, EngineConfig(), torch.device("cpu"))(normalize(image))
        for precision in ("float32", "bfloat16"):
            settings = EngineConfig(precision=precision, channels_last=True)
            got = Inference(model, settings, device)(normalize(image.to(device)))
            far_px = float((got.offset_N2Khw.cpu() - want.offset_N2Khw).abs().max()) * stride
            yield Row("parity", f"{name}, {precision}: offsets, farthest", f"{far_px:.4f} px", "< 0.05 px")
    at = torch.rand(64, 68, 2, device=device) * (args.crop - 48) + 24
    seen = torch.ones(64, 68, device=device)
    heat = encode_heatmap(at, seen, (args.crop // 4,) * 2, 4, 6.0)[:, :-1]
    for kind in (torch.float32, torch.bfloat16):
        far_px = float((decode_heatmap(heat.to(kind), 4)[0] - at).norm(dim=-1).max())
        yield Row(
            "parity",
            f"decoding of {str(kind).rpartition('.')[2]} maps, farthest",
            f"{far_px:.3f} px",
            "< 0.1 px",
        )
    yield from _views(args, device)


def _views(args: argparse.Namespace, device: "torch.device") -> Iterator[Row]:
    """Clips that a reader painted against the same that the device did."""
    from tsal_dist.config.data import DataConfig
    from tsal_dist.data.device_view import render
    from tsal_dist.data.raw_clip import RawClip

    hard = DataConfig().hard
    with made_shards(24, 384, 384) as shards:
        painted, raw = (next(open_stream(args.crop, shards, hard, 0, how)) for how in (False, True))
    left = sum(isinstance(clip, RawClip) for clip in raw)
    off = (render(painted, device).int() - render(raw, device).int()).abs().float()
    yield Row(
        "parity",
        f"views of {len(raw)} clips, {left} left raw, mean difference",
        f"{float(off.mean()):.2f} levels of 255",
        "< 0.5",
    )


def readers(args: argparse.Namespace) -> Iterator[Row]:
    import os

    from tsal_dist.config.data import DataConfig

    cores = len(os.sched_getaffinity(0))
    counts = [0] if args.small else sorted({1, min(4, cores), max(1, cores - 2)})
    for name, width, height in (("720p", 1280, 720), ("crops of 384 px", 384, 384)):
        with made_shards(24 if args.small else 96, width, height) as shards:
            for workers in counts:
                for raw in (False, True):
                    stream = open_stream(args.crop, shards, DataConfig().hard, workers, raw)
                    per_s = rate(lambda s=stream: len(next(s)), args, warm=4)  # type: ignore[misc]
                    stream.close()
                    how = "left raw" if raw else "views taken"
                    yield Row("readers", f"{name}, {workers} processes, {how}", f"{per_s:,.0f} frames/s")


def student(args: argparse.Namespace) -> Iterator[Row]:
    from tools.bench.step import bare_student, our_student

    for name in args.detectors:
        settings = bench_settings(args, name)
        steps = 1 if args.small else STEPS
        ours, bare = our_student(settings, steps), bare_student(settings, steps)
        rates = [(rate(ours, args), rate(bare, args)) for _ in range(2)]
        mine, theirs = (max(each) for each in zip(*rates, strict=True))
        yield Row("student", f"{name}: step", f"{mine:,.0f} images/s")
        yield Row("student", f"{name}: of a bare loop's", f"{mine / theirs:.2f}", "≥ 0.95")
        yield from _cost(name, ours, args, mine)


def _cost(name: str, step: Callable[[], int], args: argparse.Namespace, per_s: float) -> Iterator[Row]:
    import torch
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    from tsal_dist.observe.profiler import busy_us

    with FlopCounterMode(display=False) as flops:
        images = step()
    yield Row("student", f"{name}: work", f"{flops.get_total_flops() / images * per_s / 1e12:.2f} TFLOP/s")
    if args.device == "cpu":
        yield Row(
            "student", f"{name}: device busy, copies, syncs, memory", "not measured on a GPU", "≥ 95 %, 0, 0"
        )
        return
    torch.cuda.reset_peak_memory_stats()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        begun = time.perf_counter()
        steps = step() / (2 * args.batch)
        took_s = time.perf_counter() - begun
    events = seen.key_averages()
    busy = busy_us(events) / 1e6 / took_s
    copies = sum(event.count for event in events if "Memcpy DtoH" in event.key)
    waits = sum(event.count for event in events if "cudaStreamSynchronize" in event.key)
    yield Row("student", f"{name}: device busy", f"{busy:.0%}", "≥ 95 %")
    yield Row("student", f"{name}: copies to the host per step", f"{copies / steps:.1f}", "0")
    yield Row("student", f"{name}: waits for a stream per step", f"{waits / steps:.1f}", "0")
    yield Row("student", f"{name}: peak memory", f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def steps(args: argparse.Namespace) -> Iterator[Row]:
    import torch

    from tools.gpu.real_steps import step_rows

    yield from (Row("steps", *found) for found in step_rows(torch.device(args.device)))


def labelling(args: argparse.Namespace) -> Iterator[Row]:
    import torch

    from tools.bench.step import build, make_frames
    from tsal_dist.recipes.api import Source
    from tsal_dist.trackers.choose import build_tracker

    rows = 8 if args.small else 64
    detections = (Source("heatmap"), Source("center", "center"))
    for name in args.detectors:
        engine, task = build(bench_settings(args, name))
        frames = make_frames(bench_settings(args, name), rows, 4)
        bare = rate(partial(_look, engine, frames), args)
        yield Row("labelling", f"{name}: bare forward pass", f"{bare:,.0f} frames/s")
        for kind in ("none", "dis", "pwc"):
            tracker = build_tracker("dis" if kind == "none" else kind)
            if isinstance(tracker, torch.nn.Module):
                tracker.to(args.device)
            sources = detections if kind == "none" else (*detections, Source("track", "track"))
            share = rate(partial(_label, engine, tracker, frames, sources, task), args) / bare
            yield Row("labelling", f"{name}, flow by {kind}: of the bare pass", f"{share:.2f}", "≥ 0.9")


def _look(engine: "Engine", frames: "Frames") -> int:
    from tsal_dist.models.input import normalize

    engine.infer(normalize(frames.image_NHWC))
    return finished(len(frames))


def _label(
    engine: "Engine", tracker: "Tracker", frames: "Frames", sources: "Sequence[Source]", task: "Task"
) -> int:
    from tsal_dist.recipes.labelling import Limits, label

    limits = Limits(1.5, 0.15 * task.crop_px)
    panel = {"teacher": engine.infer}
    label(panel, tracker, frames, sources, stride=task.stride, radius=4, limits=limits)
    return finished(len(frames))


def compiled(args: argparse.Namespace) -> Iterator[Row]:
    from tools.bench.step import our_student

    if args.small:
        yield Row("compile", "the student's step", "not measured: --small")
        return
    for name in args.detectors[-1:]:
        begun = time.perf_counter()
        fast = our_student(bench_settings(args, name, compile=True), STEPS)
        fast()
        first_s = time.perf_counter() - begun
        gain = rate(fast, args) / rate(our_student(bench_settings(args, name), STEPS), args)
        yield Row("compile", f"{name}: against not compiled", f"{gain:.2f}")
        yield Row("compile", f"{name}: first steps", f"{first_s:.0f} s")


def split(args: argparse.Namespace) -> Iterator[Row]:
    from tools.gpu.whole_runs import split_rows

    yield from (Row("split", *found) for found in split_rows(args.device, args.small))


def deepspeed(args: argparse.Namespace) -> Iterator[Row]:
    from tools.gpu.whole_runs import deepspeed_rows

    yield from (Row("deepspeed", *found) for found in deepspeed_rows(args.device, args.small))


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "machine": machine,
    "parity": parity,
    "readers": readers,
    "student": student,
    "steps": steps,
    "labelling": labelling,
    "compile": compiled,
    "split": split,
    "deepspeed": deepspeed,
}


def rate(act: Callable[[], int], args: argparse.Namespace, warm: int = 1) -> float:
    """Items per second, the first times apart; `act` returns once the device is done."""
    for _ in range(warm):
        act()
    begun, items = time.perf_counter(), 0
    while time.perf_counter() - begun < args.seconds:
        items += act()
    finished(0)
    return items / (time.perf_counter() - begun)


def finished(items: int) -> int:
    """`items`, once the device has done what was asked of it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return items


def bench_settings(args: argparse.Namespace, detector: str, compile: bool = False) -> argparse.Namespace:
    """What tools.bench.step takes."""
    return argparse.Namespace(
        detector=detector, crop=args.crop, batch=args.batch, device=args.device,
        precision="bfloat16" if args.device != "cpu" else "float32", compile=compile, channels_last=True,
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
