"""The same targets under a fuzzer that follows coverage. Needs `pip install atheris`, which is no part of the setup.

python -m tests.fuzz.with_atheris --list
python -m tests.fuzz.with_atheris tar --seconds 120

It ends with an error at the first input that breaks a promise, and leaves that input in the folder it names.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tsal_dist"]):
    from tests.fuzz import annotations, queue_files, run_files, shard_files

FAMILIES = (annotations, shard_files, queue_files, run_files)
LONGEST = 4096


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="?", help="which parser")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--list", action="store_true", help="name the targets")
    args = parser.parse_args(argv)
    if args.list or args.target is None:
        print("\n".join(name for family in FAMILIES for name in family.NAMES))
        return
    (family,) = (family for family in FAMILIES if args.target in family.NAMES)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    (corpus := folder / "corpus").mkdir()
    (files := folder / "files").mkdir()
    target = next(one for one in family.targets(files) if one.name == args.target)
    # A digest is no signature: a search that sees what it is compared with soon writes the right one.
    target = dataclasses.replace(target, sealed=False)
    (corpus / "whole").write_bytes(target.whole)
    limits = [
        f"-max_total_time={args.seconds}",
        f"-max_len={max(LONGEST, 2 * len(target.whole))}",
        "-timeout=20",
        "-rss_limit_mb=4096",
    ]
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={folder}/", *limits], target.hold)
    print(f"{target}: inputs that break it go to {folder}", flush=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
