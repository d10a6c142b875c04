"""Two hosts on this machine: network namespaces joined by a cable, each with a host name of its own. Needs root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAMS = ("ip", "unshare", "hostname")
ADDRESSES = ("10.77.0.1", "10.77.0.2")


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]


class TwoHosts:
    """`names` are what host 0 and host 1 call themselves and each other, as a cluster's name service would."""

    def __init__(self, folder: Path, names: Sequence[Sequence[str]]) -> None:
        self.names = names
        self.spaces = [f"tsal-{os.getpid()}-{number}" for number in (0, 1)]
        self.links = [f"tsal{os.getpid() % 100000}-{number}" for number in (0, 1)]
        self.hosts = folder / "hosts"
        lines = [f"{address} {' '.join(known)}" for address, known in zip(ADDRESSES, names, strict=True)]
        self.hosts.write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "TwoHosts":
        for space in self.spaces:
            _ip("netns", "add", space)
        _ip("link", "add", self.links[0], "type", "veth", "peer", "name", self.links[1])
        for space, link, address in zip(self.spaces, self.links, ADDRESSES, strict=True):
            _ip("link", "set", link, "netns", space)
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "set", link, "up")
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        for space in self.spaces:
            _ip("netns", "delete", space)

    def start(
        self, host: int, command: Sequence[str], folder: Path, settings: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """`command` on one of the hosts, with little more in its environment than a container would have."""
        inside = 'mount --bind "$1" /etc/hosts && hostname "$2" && cd "$3" && shift 3 && exec "$@"'
        wrapper = [
            "ip",
            "netns",
            "exec",
            self.spaces[host],
            "unshare",
            "--mount",
            "--uts",
            "sh",
            "-c",
            inside,
            "sh",
        ]
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        process = subprocess.Popen(
            [*wrapper, str(self.hosts), self.names[host][-1], str(folder), *command],
            env={"PATH": path, "OMP_NUM_THREADS": "1", **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Pull the cable: packets vanish, nobody is told."""
        _ip("-n", self.spaces[0], "link", "set", self.links[0], "down")

    def join(self) -> None:
        _ip("-n", self.spaces[0], "link", "set", self.links[0], "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
