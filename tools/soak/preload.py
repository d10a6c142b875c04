"""Two libraries that make a host lie to the roles alone: a wall clock that is off (`clock.c`), a listing that is stale (`listing.c`).

Each of them has mapped a file that holds a number of seconds, so what it does can be changed while it is in use.
"""

import shutil
import subprocess
from pathlib import Path

LIBRARIES = ("clock", "listing")


def build_libraries(folder: Path) -> dict[str, str] | None:
    """The environment in which both are in use, by the numbers in `folder`; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    built, settings = [], {}
    for name in LIBRARIES:
        library, source = folder / f"{name}.so", Path(__file__).with_name(f"{name}.c")
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl", "-lpthread"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        set_seconds(folder, name, 0)
        built.append(str(library))
        settings[f"SOAK_{name.upper()}"] = str(folder / name)
    return {"LD_PRELOAD": ":".join(built), **settings}


def set_seconds(folder: Path, name: str, seconds: int) -> None:
    """In place: the processes have mapped it."""
    file = folder / name
    with open(file, "r+b" if file.exists() else "wb") as opened:
        opened.write(seconds.to_bytes(8, "little", signed=True))
