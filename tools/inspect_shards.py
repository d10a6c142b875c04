"""Look into folders of shards: what is in them, whether they are whole, how they look, how two differ.

    tsal shards info shards/faces/train
    tsal shards lint shards/faces/train --json
    tsal shards preview shards/faces/train --to sheet.png
    tsal shards index foreign_tars/
    tsal shards diff shards/a/train shards/b/train

lint and diff leave with 1 when they find something.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsal_dist.cli import run_entry
from tsal_dist.outputs import check_file
from tsal_dist.run_dir import write_whole

_MOST_NAMED = 10


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    plain = argparse.ArgumentParser(add_help=False)
    plain.add_argument("--json", action="store_true", help="one JSON document instead of text (default: off)")
    plain.add_argument("folder", metavar="URL", help="a folder of shards, as <out>/<split>")
    verbs.add_parser("info", parents=[plain], help="counts, sizes, bad inputs")
    lint = verbs.add_parser("lint", parents=[plain], help="check everything that can be checked")
    lint.add_argument(
        "--decode", type=int, default=1, metavar="N", help="decode every N-th frame, 0 none (default: 1)"
    )
    preview = verbs.add_parser(
        "preview", parents=[plain], help="draw a contact sheet with boxes and landmarks"
    )
    preview.add_argument(
        "--to", type=Path, default=Path("preview.png"), help="image file (default: preview.png)"
    )
    preview.add_argument("--rows", type=int, default=4, help="of frames (default: 4)")
    preview.add_argument("--columns", type=int, default=6, help="of frames (default: 6)")
    preview.add_argument("--tile", type=int, default=240, metavar="PX", help="size of a frame (default: 240)")
    verbs.add_parser("index", parents=[plain], help="make foreign WebDataset tars readable")
    diff = verbs.add_parser("diff", parents=[plain], help="compare two folders frame by frame")
    diff.add_argument("other", metavar="URL", help="the folder to compare with")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    verb = {"info": _info, "lint": _lint, "preview": _preview, "index": _index, "diff": _diff}[args.verb]
    page, lines, code = verb(args)
    print(json.dumps(page, indent=1) if args.json else "\n".join(lines))
    return code


Answer = tuple[dict[str, Any], list[str], int]
"""For a program, for a person, exit code."""


def _info(args: argparse.Namespace) -> Answer:
    from tsal_dist.pack.sources import read_sources
    from tsal_dist.shards.manifest import open_manifest

    manifest, sources = open_manifest(args.folder), read_sources(args.folder)
    segments = [segment for shard in manifest.shards for segment in shard.segments]
    bad = [asdict(row) for row in sources if row.status != "ok"]
    page = {
        "split": manifest.split,
        "scheme": manifest.scheme,
        "points": manifest.points,
        "first_pixel": " and ".join(map(str, manifest.first_pixel)) or "not said",
        "shards": len(manifest.shards),
        "pictures": f"face crops of {manifest.crop.side_px} px, margin {manifest.crop.margin:g}"
        if manifest.crop
        else "whole",
        "frames": manifest.frames,
        "labelled": manifest.labelled,
        "failed": sum(shard.failed for shard in manifest.shards),
        "videos": len(manifest.videos),
        "stills": sum(segment.frames for segment in segments if segment.kind == "stills"),
        "bytes": sum(shard.tar_bytes for shard in manifest.shards),
        "fingerprint": manifest.fingerprint,
        "plan": manifest.plan,
        "inputs": len(sources),
        "bad_inputs": bad,
    }
    lines = [f"{key:12} {value}" for key, value in page.items() if key != "bad_inputs"]
    lines += [f"bad input    {row['name']}: {row['status']}: {row['reason']}" for row in bad[:_MOST_NAMED]]
    if len(bad) > _MOST_NAMED:
        lines.append(f"             and {len(bad) - _MOST_NAMED} more, see --json")
    return page, lines, 0


def _lint(args: argparse.Namespace) -> Answer:
    from tsal_dist.pack.lint import lint_folder

    findings = lint_folder(args.folder, args.decode)
    lines = [f"{finding.where}: {finding.check}: {finding.detail}" for finding in findings]
    page = {"findings": [asdict(finding) for finding in findings]}
    return page, lines or [f"{args.folder}: nothing to complain about"], 1 if findings else 0


def _preview(args: argparse.Namespace) -> Answer:
    import cv2

    from tsal_dist.errors import ConfigError
    from tsal_dist.pack.preview import draw_sheet
    from tsal_dist.shards.manifest import open_manifest

    if min(args.rows, args.columns) < 1 or args.tile < 32:
        raise ConfigError("A sheet has at least one row and one column of tiles of 32 px.")
    check_file("--to", args.to, (".png", ".jpg"))
    sheet = draw_sheet(open_manifest(args.folder), args.rows, args.columns, args.tile)
    write_whole(args.to, cv2.imencode(args.to.suffix.lower(), sheet)[1].tobytes())
    return {"file": str(args.to)}, [str(args.to)], 0


def _index(args: argparse.Namespace) -> Answer:
    from tsal_dist.pack.foreign import index_folder

    manifest = index_folder(args.folder)
    page = {"shards": len(manifest.shards), "frames": manifest.frames, "labelled": manifest.labelled}
    return (
        page,
        [f"{manifest.frames} frames ({manifest.labelled} labelled) in {len(manifest.shards)} tars"],
        0,
    )


def _diff(args: argparse.Namespace) -> Answer:
    from tsal_dist.pack.compare import compare_folders
    from tsal_dist.records import frame_name
    from tsal_dist.shards.manifest import open_manifest

    one, other = open_manifest(args.folder), open_manifest(args.other)
    found, videos = compare_folders(one, other), one.videos | other.videos
    page = {**asdict(found), "empty": found.empty}
    lines = []
    for name in ("only_first", "only_second", "other_picture", "other_label"):
        frames = getattr(found, name)
        if frames:
            shown = ", ".join(
                frame_name(video, frame if video in videos else None) for video, frame in frames[:3]
            )
            lines.append(
                f"{name.replace('_', ' ')}: {len(frames)} frames ({shown}{', ...' if len(frames) > 3 else ''})"
            )
    same = "the same bytes" if found.same_bytes else "the same frames and labels in other shards"
    return page, lines or [same], 0 if found.empty else 1


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
