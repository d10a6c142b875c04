"""Short whole runs on synthetic faces: does everything that a run consists of go together on a device?"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

Found = tuple[str, str, str]
"""What was looked at, what was found, what is aimed at."""
NEEDS_A_TEACHER = ("feature_distillation", "quantized_distillation")
WARMING_UP = ("tsal", "mean_teacher")
"""Methods that look at scores for a while before they weigh anything: for longer than a short run lasts."""


def split_rows(device: str, small: bool) -> Iterator[Found]:
    """Both roles on one device, each in processes of its own; then every method with its teacher beside it."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        place = Path(folder)
        faces = _faces(place)
        words = ("method.name=tsal", "runtime.topology=split")
        code, said = run_training(device, faces, place / "run", 12 if small else 60, 3, *words)
        yield "a teacher and two students on one device: exit code", str(code), "0"
        if code:
            yield "last words", said, ""
            return
        from tsal_dist.observe.sinks import read_metrics

        lines = list(read_metrics(place / "run/metrics/student.jsonl"))
        rates = [line["speed/steps_per_s"] for line in lines if "speed/steps_per_s" in line]
        yield "student steps per second", f"{rates[-1]:.1f}", ""
        if small:
            yield "every method, its teacher beside it: exit code", "not measured: --small", "0"
            return
        yield from _method_rows(device, faces, place)


def _method_rows(device: str, faces: Sequence[str], place: Path) -> Iterator[Found]:
    """A few steps of each, in one process; those that need a trained teacher have that of the run before."""
    from tsal_dist.recipes.find import PACKAGED

    for name in PACKAGED:
        words = [f"method.name={name}", "runtime.topology=inline"]
        words += [f"method.teacher={place / 'run'}"] if name in NEEDS_A_TEACHER else []
        words += ["method.score_warmup=1"] if name in WARMING_UP else []
        code, said = run_training(device, faces, place / name, 12, 1, *words)
        yield f"{name}, its teacher beside it: exit code", f"{code} ({said})" if code else "0", "0"


def deepspeed_rows(device: str, small: bool) -> Iterator[Found]:
    """A run by the other engine, where it is installed."""
    if find_spec("deepspeed") is None or small:
        yield "a supervised run, ZeRO 1", "not measured: not installed, or --small", ""
        return
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        place = Path(folder)
        faces = _faces(place)
        words = ("method.name=supervised", "runtime.student.kind=deepspeed", "runtime.student.zero_stage=1")
        code, said = run_training(device, faces, place / "run", 60, 1, *words)
        yield "a supervised run, ZeRO 1: exit code", f"{code} ({said})" if code else "0", "0"


def _faces(folder: Path) -> list[str]:
    """Packed videos of synthetic faces, some of whose frames are labelled; the settings that name them."""
    from tools.bench.made_faces import make_faces
    from tsal_dist.synthetic.dataset import DatasetSpec

    return make_faces(folder, DatasetSpec(8, 8, 96, seed=1, labelled=0.25, test_share=0.25))


def run_training(
    device: str, faces: Sequence[str], run: Path, steps: int, processes: int, *words: str
) -> tuple[int, str]:
    """A run on these faces; its exit code and its last words."""
    from launch.process_plan import ALONE
    from tsal_dist.dist.environment import child_environment

    low = ["runtime.student.precision=bfloat16", "runtime.teacher.precision=bfloat16"]
    command = [
        sys.executable, *(("-m", ALONE, f"--nproc-per-node={processes}") if processes > 1 else ()),
        "-m", "tsal_dist.train", f"run.dir={run}", *faces, "data.workers=1", "data.view=device",
        "model.detector=lite", "model.crop_px=64", "model.num_points=68",
        f"train.steps={steps}", "train.burn_in_steps=4", "train.labelled_batch=4",
        "train.unlabelled_batch=8", "train.optim.warmup_steps=2", "runtime.queue.segment_rows=32",
        "runtime.weights.publish_every=4", "runtime.log.every=4", *(low if device != "cpu" else ()), *words,
    ]  # fmt: skip
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    environment = child_environment({"OMP_NUM_THREADS": "1", **hidden})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    errors = [line for line in said if "error: " in line]
    return done.returncode, (errors or said or ["not a word"])[-1][:200]
