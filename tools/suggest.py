"""Which frames to label next: with the model's guesses and the reasons, as JSON and as a contact sheet.

tsal suggest runs/mine --frames 20
"""

import argparse
import shlex
from pathlib import Path

from tsal_dist.cli import run_entry


def main(argv: list[str]) -> int:
    """Look, choose, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder: its best weights look")
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="how many to suggest (20)")
    parser.add_argument(
        "--shards",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="footage to choose from (the run's unlabelled shards)",
    )
    parser.add_argument(
        "--role", choices=["student", "teacher"], default="student", help="whose weights (student)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where it goes (RUN/label)")
    args = parser.parse_args(argv)

    import cv2

    from tsal_dist.inference.suggestion import labelled_since, suggest
    from tsal_dist.inference.trained import load_trained, pick_device
    from tsal_dist.insight.suggestion_sheet import draw_suggestions
    from tsal_dist.label.suggested import write_suggestions
    from tsal_dist.label.tasks import open_footage
    from tsal_dist.records import Layout
    from tsal_dist.run_dir import RunDir

    trained = load_trained(args.run, args.role)
    shards = open_footage(args.run, trained.config, args.shards)
    run_dir = RunDir(args.run)
    found = suggest(trained, shards, args.frames, pick_device(), since=labelled_since(run_dir.labels))
    layout = Layout(trained.config.model.layout.names, trained.config.model.layout.skeleton)
    out = args.out or run_dir.label
    out.mkdir(parents=True, exist_ok=True)
    kept = write_suggestions(out, shards.fingerprint, found)
    sheet = draw_suggestions(shards, found, trained.config.data.box_expand, layout)
    cv2.imwrite(str(out / "suggested.jpg"), sheet)
    for number, one in enumerate(found, 1):
        name = shards.frame_name(one.guess.ref, one.guess.video, one.guess.frame)
        print(f"{number:3}  {name}: {one.reason}")
    # The page looks into the run's own folder alone, and takes suggestions of other footage for none.
    words = ["tsal", "label", str(args.run), *(["--shards", *args.shards] if args.shards else [])]
    own = out.resolve() == run_dir.label.resolve()
    after = (
        f"label them with: {shlex.join(words)}"
        if own
        else "to label suggested frames on a page leave --out away"
    )
    print(f"{kept}, {out / 'suggested.jpg'}; {after}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
