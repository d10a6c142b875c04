"""What detectors there are: a line each, their parameters, and the pixels per cell of their maps.

python -m tsal_dist.models
python -m tsal_dist.models lite0 my_net.py:Net
"""

import argparse
import sys

from tsal_dist.cli import run_entry


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="DETECTOR", help="which of them (all)")
    args = parser.parse_args(argv)
    from tsal_dist.config.model import DETECTOR_GROUP, DETECTORS
    from tsal_dist.models.detectors import tell
    from tsal_dist.plugins import list_offered

    for name in args.names or [*DETECTORS, *list_offered(DETECTOR_GROUP)]:
        sys.stdout.write(tell(name) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
