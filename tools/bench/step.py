"""What a step costs: the method against its original schedule, and the student against a bare loop.

    python -m tools.bench.step
    python -m tools.bench.step --detector hrnet_w18 --crop 256 --device cuda --precision bfloat16 --compile

recipe     one clip as the method runs: labelled from three sources, trained on by the student; the teacher's own
           steps are one in hundreds of clips and left out. Against the original code's schedule of detector passes:
           per model every frame with a graph, every neighbour's rebuilt frame without one, and every pair four times
           at four scales (66.8 forward passes of a clip of ten frames, two models)
both       the same, where the teacher learns from every clip too, as in the original
student    images/s of the student's step, all loss terms and the optimiser, against a bare loop over the same batch in
           memory: forward, mean squared error of the heatmaps, backward, AdamW

Data lies in memory, so that only the step is measured. Prints a line for each and one of JSON.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from tsal_dist.engine.api import Engine
    from tsal_dist.losses.term import Term
    from tsal_dist.recipes.api import LossTerm, Task
    from tsal_dist.recipes.frames import Frames
    from tsal_dist.recipes.target import Target

POINTS, CLIP_FRAMES = 68, 10
SIDES = (1.0, 0.5, 0.25, 0.125)
"""Of the original's four scales; a quarter of the pixels each."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--detector", default="lite", help="lite, hrnet_w18 or cpm_vgg16 (default: lite)")
    add("--crop", type=int, default=128, metavar="PX", help="side of a crop, a multiple of 64 (default: 128)")
    add(
        "--batch",
        type=int,
        default=16,
        metavar="N",
        help="labelled frames of a step, and unlabelled ones (16)",
    )
    add("--device", default="cpu", help="where torch computes (default: cpu)")
    add("--precision", choices=["float32", "bfloat16"], default="float32", help="of the student's step")
    add("--compile", action="store_true", help="torch.compile both sides of `student`")
    add("--channels-last", action="store_true", help="memory format of both sides of `student`")
    add("--threads", type=int, default=1, metavar="N", help="of torch (default: 1)")
    add("--rounds", type=int, default=7, metavar="N", help="rounds of each pair (default: 7)")
    add("--quick", action="store_true", help="two short rounds: does it run?")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.crop < 64 or args.crop % 64:
        raise ConfigError(
            f"--crop is {args.crop}; it must be a multiple of 64, so that an eighth fits the stride."
        )
    import torch

    from tools.bench.paired_benchmark import compare_in_turns, json_line

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    steps, rounds = (1, 2) if args.quick else (4, args.rounds)
    results = []
    for name, aim, ours, baseline in [
        ("recipe", 3.0, our_clip(args, teacher_learns=False), their_clip(args)),
        ("both", 3.0, our_clip(args, teacher_learns=True), their_clip(args)),
        ("student", 0.95, our_student(args, steps), bare_student(args, steps)),
    ]:
        results.append(compare_in_turns(name, aim, ours, baseline, rounds))
        print(results[-1].line(), flush=True)
    names = ("detector", "crop", "batch", "device", "precision", "compile", "channels_last", "threads")
    settings = {key: getattr(args, key) for key in names}
    if args.device != "cpu":
        settings["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        settings["gpu"] = torch.cuda.get_device_name()
    print(json_line(results, **settings))
    return 0


def our_clip(args: argparse.Namespace, teacher_learns: bool) -> Callable[[], int]:
    """The work for one clip: labels from three sources, the teacher's own step or not, the student's step."""
    from tsal_dist.recipes.api import Source
    from tsal_dist.recipes.labelling import Limits, label
    from tsal_dist.recipes.steps import supervised_terms
    from tsal_dist.recipes.study import Study
    from tsal_dist.recipes.tracking import RebuiltFrames
    from tsal_dist.trackers.choose import build_tracker

    engine, task = build(args, plain=True)
    clip, labelled = make_frames(args, CLIP_FRAMES, CLIP_FRAMES), make_frames(args, 1, 1)
    tracker = build_tracker("dis")
    sources = (Source("heatmap"), Source("center", "center"), Source("track", "track"))
    lessons = RebuiltFrames(task)

    def run() -> int:
        label(
            {"teacher": engine.infer},
            tracker,
            clip,
            sources,
            stride=task.stride,
            radius=4,
            limits=Limits(2.0, args.crop),
        )
        if teacher_learns:
            output, further = lessons(Study(engine.forward, engine.infer, labelled, clip, tracker))
            learn(engine, supervised_terms(output, labelled, task) | further)
        learn(engine, student_side(engine, labelled, clip, make_target(clip), task))
        return 1

    return run


def their_clip(args: argparse.Namespace) -> Callable[[], int]:
    """The original's passes for one clip and two models, with the same detector. No losses: passes alone."""
    import torch
    from torch.nn import functional as F

    engine, _ = build(args, plain=True)
    frames_N3HW = torch.rand(CLIP_FRAMES, 3, args.crop, args.crop, device=args.device)
    pair_23HW = frames_N3HW[:2]

    def run() -> int:
        for _ in ("teacher", "student"):
            engine.model(frames_N3HW).heat_SNKhw.sum().backward()
            with torch.no_grad():
                engine.model(frames_N3HW[1:])
            for _ in range(CLIP_FRAMES - 1):
                for share in SIDES:
                    small = F.interpolate(pair_23HW, scale_factor=share, mode="bilinear")
                    # Two frames as they are, and the two rebuilt ones, through which the flow is trained.
                    with torch.no_grad():
                        heat = engine.model(small).heat_SNKhw
                    engine.model.requires_grad_(False)
                    rebuilt = engine.model(small.requires_grad_()).heat_SNKhw
                    (rebuilt - heat).square().sum().backward()
                    engine.model.requires_grad_(True)
        return 1

    return run


def our_student(args: argparse.Namespace, steps: int) -> Callable[[], int]:
    engine, task = build(args)
    labelled, clips = make_frames(args, args.batch, 1), make_frames(args, args.batch, 4)
    target = make_target(clips)

    def run() -> int:
        for _ in range(steps):
            learn(engine, student_side(engine, labelled, clips, target, task))
        return finish(args, 2 * args.batch * steps)

    return run


def bare_student(args: argparse.Namespace, steps: int) -> Callable[[], int]:
    import torch

    from tsal_dist.models.detectors import build_detector

    model = build_detector(args.detector, POINTS).to(args.device)
    image_N3HW = torch.randn(2 * args.batch, 3, args.crop, args.crop, device=args.device)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image_N3HW = image_N3HW.to(memory_format=torch.channels_last)
    if args.compile:
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=args.device != "cpu")
    with torch.no_grad():
        wanted = torch.rand_like(model(image_N3HW).heat_SNKhw)
    bf16 = args.precision == "bfloat16"

    def run() -> int:
        for _ in range(steps):
            with torch.autocast(torch.device(args.device).type, dtype=torch.bfloat16, enabled=bf16):
                heat = model(image_N3HW).heat_SNKhw
            (heat.float() - wanted).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return finish(args, 2 * args.batch * steps)

    return run


def build(args: argparse.Namespace, plain: bool = False) -> "tuple[Engine, Task]":
    """The student's engine; `plain` in float32 and without compilation, as the original's passes are."""
    import torch

    from tsal_dist.config.runtime import EngineConfig
    from tsal_dist.config.train import OptimConfig
    from tsal_dist.engine.choose import build_engine
    from tsal_dist.models.detectors import build_detector, stride_of
    from tsal_dist.recipes.api import Task

    model = build_detector(args.detector, POINTS)
    settings = EngineConfig()
    if not plain:
        settings = EngineConfig(
            precision=args.precision, compile=args.compile, channels_last=args.channels_last
        )
    engine = build_engine(model, settings, OptimConfig(lr=1e-4), 10**6, torch.device(args.device))
    task = Task(POINTS, args.crop, stride_of(model), radius=4, sigma_px=4.0, clip_frames=CLIP_FRAMES)
    return engine, task


def make_frames(args: argparse.Namespace, count: int, clip_frames: int) -> "Frames":
    """Random pictures, all labelled."""
    import torch

    from tsal_dist.recipes.frames import Frames

    return Frames(
        image_NHWC=torch.randint(
            0, 255, (count, args.crop, args.crop, 3), dtype=torch.uint8, device=args.device
        ),
        points_NK2=args.crop * torch.rand(count, POINTS, 2, device=args.device),
        visible_NK=torch.ones(count, POINTS, dtype=torch.bool, device=args.device),
        labelled_N=torch.ones(count, dtype=torch.bool, device=args.device),
        face_px_B=torch.full((count // clip_frames,), 0.8 * args.crop, device=args.device),
        clip_frames=clip_frames,
    )


def make_target(frames: "Frames") -> "Target":
    import torch

    from tsal_dist.recipes.target import Target

    return Target(frames.points_NK2, torch.ones_like(frames.points_NK2[..., 0]))


def student_side(
    engine: "Engine", labelled: "Frames", clips: "Frames", target: "Target", task: "Task"
) -> "dict[str, Term]":
    from tsal_dist.recipes.api import Lesson, OneNet
    from tsal_dist.recipes.steps import student_terms

    lessons = [Lesson(clips, {"teacher": target})]
    return student_terms(engine.forward, OneNet(), labelled, lessons, student_learns(), task)[0]


def student_learns() -> "tuple[LossTerm, ...]":
    """The terms of the method."""
    from tsal_dist.recipes.terms import Structure, TargetHeatmaps

    return TargetHeatmaps(), Structure()


def learn(engine: "Engine", terms: "dict[str, Term]") -> None:
    """One optimiser step, as a role alone in its world takes it."""
    from tsal_dist.config.train import LossConfig
    from tsal_dist.recipes.api import Progress
    from tsal_dist.recipes.steps import term_weights, total_loss

    counts: dict[str, torch.Tensor] = {name: term.count for name, term in terms.items()}
    weights = term_weights(student_learns(), Progress(1, 0, 2), LossConfig()) | {"tracking": 0.1}
    engine.step(total_loss(terms, counts, weights, 1))


def finish(args: argparse.Namespace, items: int) -> int:
    """`items`, once the device has done them."""
    import torch

    if args.device != "cpu":
        torch.cuda.synchronize()
    return items


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
