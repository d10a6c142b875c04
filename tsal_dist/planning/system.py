"""What a number was measured on: written down with every measurement."""

import os
import platform
import subprocess
from pathlib import Path


def describe_system() -> dict[str, str | int | None]:
    """What a number was measured on, and from which commit."""
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = next(iter(names), cpu)
    git = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": git.stdout.strip() or "unknown",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
