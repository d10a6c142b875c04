"""Start a command that ends with the process that asked for it: `python -m launch.sweep.die_with_parent PARENT COMMAND...`.

The launchers set this up between fork and exec. A Ray worker has many threads, where Python code in that place
may hang, so here it is done by a small process of its own, which then becomes the command.
"""

import os
import sys

from tsal_dist.dist.parent_death import die_with_parent
from tsal_dist.errors import ExitCode


def ending_with_this_process(command: list[str]) -> list[str]:
    """The command that starts `command`, and ends it should this process die."""
    return [sys.executable, "-m", "launch.sweep.die_with_parent", str(os.getpid()), *command]


def main() -> int:
    """Tie this process to its parent, then become the command."""
    parent, *command = sys.argv[1:]
    die_with_parent()
    # The parent may have died before: then nobody is left whose end could be this one's.
    if os.getppid() != int(parent):
        return ExitCode.REQUEUE
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
