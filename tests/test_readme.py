"""Every command in the README runs: the walk as it stands there, on a few small clips and for a few steps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tsal_dist.synthetic.clip import ClipSpec, render_clip

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

# Appended to a training command, so that the walk takes seconds; everything else runs as it is printed.
BRIEF = [
    "train.steps=8",
    "train.burn_in_steps=4",
    "train.labelled_batch=2",
    "train.unlabelled_batch=4",
    "model.crop_px=32",
    "runtime.queue.segment_rows=4",
    "runtime.queue.high_water_rows=64",
    "runtime.queue.low_water_rows=16",
    "runtime.weights.publish_every=2",
    "runtime.checkpoint.every=4",
    "runtime.log.evaluate_every=8",
]


def commands():
    """Lines of the README's shell blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def write_clip(path, clip, frames=6):
    rendered = render_clip(ClipSpec(seed=5, clip=clip, frames=frames, size_px=64))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    for frame in rendered.frames:
        writer.write(frame)
    writer.release()
    return rendered.points


def write_labels(path, clips):
    names = ",".join(f"p{k}x,p{k}y" for k in range(68))
    lines = [f"path,frame,{names}"]
    for video, points_TK2 in clips.items():
        for frame, points_K2 in enumerate(points_TK2, start=1):
            lines.append(f"{video},{frame}," + ",".join(f"{value:.2f}" for value in points_K2.ravel()))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def desk(tmp_path):
    """A folder as the README's reader has it: a clone, some videos, some labels."""
    for name in ("tools", "configs", "launch"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "my_videos").mkdir()
    points = {
        name: write_clip(tmp_path / "my_videos" / name, clip)
        for clip, name in enumerate(("clip.avi", "other.avi", "third.avi"))
    }
    write_labels(tmp_path / "my_labels.csv", {name: points[name][:4] for name in ("clip.avi", "other.avi")})
    return tmp_path


def run(command, folder, extra=()):
    words = command.removeprefix("OMP_NUM_THREADS=1 ").split()
    program = {"python": sys.executable, "torchrun": str(BIN / "torchrun"), "tsal": str(BIN / "tsal")}[
        words[0]
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *words[1:], *extra],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def test_the_readme_runs_something_by_line_30():
    head = (ROOT / "README.md").read_text().splitlines()[:30]
    assert "make demo" in head


def test_make_knows_the_targets_the_readme_names():
    readme = (ROOT / "README.md").read_text()
    for target in sorted(set(re.findall(r"make ([a-z-]+)`", readme)) | {"demo"}):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walk_on_your_own_videos_runs_as_printed(desk):
    walk = [line for line in commands() if not line.startswith("make ")]
    assert any("-m tsal_dist.train" in line for line in walk)
    for line in walk:
        brief = BRIEF if re.search(r"tsal_dist\.train|launch\.sweep", line) else ()
        run(line, desk, ("--steps", "2") if line.startswith("tsal boxes ") else brief)
    capture = cv2.VideoCapture(str(desk / "overlay.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    assert (desk / "landmarks.parquet").stat().st_size > 0
    assert len((desk / "found.csv").read_text().splitlines()) == 1 + 6
    assert (desk / "runs/mine/report/ced.png").stat().st_size > 0
    assert (desk / "runs/sweeps/demo/report/best.toml").stat().st_size > 0


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_and_files_that_pages_name_exist(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or ((ROOT / page).parent / target).exists(), target
    for target in re.findall(r"\b(?:configs|tools|docs)/[\w/.-]+\.(?:toml|py|md)", text):
        assert (ROOT / target).exists(), target


def test_no_page_promises_unmeasured_numbers():
    """Accuracy on public data was not measured, and every page that could claim it says so."""
    assert "not yet measured" in (ROOT / "README.md").read_text()
