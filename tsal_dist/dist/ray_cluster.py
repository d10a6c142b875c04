"""A Ray cluster for the length of a command: joined, or made of this machine; quiet, and closed to strangers."""

import logging
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tsal_dist.dist.environment import advised
from tsal_dist.errors import ConfigError, MissingExtra

CONNECT_S = 10.0
STORE_BYTES = 100 * 1024 * 1024
"""Of a cluster of our own: only plans and notes pass through its object store."""
# Ray appends up to 60 characters to this, and a socket's path may have 107.
LONGEST_FOLDER = 40


@contextmanager
def join_ray(
    address: str,
    flag: str,
    purpose: str,
    extra: str = "ray",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[None]:
    """Ray, until the block ends: "local" makes a cluster of this machine, anything else joins one.

    Messages name the `flag` of the address, and the `purpose` whose `extra` is missing. `settings` are what Ray reads from
    the environment when it is imported, here and in every process that it starts.
    """
    words = {"RAY_USAGE_STATS_ENABLED": "0", **settings}
    if address == "local":
        # Whoever reaches a Ray cluster can run anything on it. By itself Ray would keep a secret at home.
        words |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with advised(words), _joined(address, flag, purpose, extra):
        yield


@contextmanager
def _joined(address: str, flag: str, purpose: str, extra: str) -> Iterator[None]:
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", extra, purpose) from None
    _check_address(address, flag)
    words: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    folder = None
    if address == "local":
        folder = _short_folder()
        words |= {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_temp_dir": str(folder)}
    try:
        ray.init(address, **words)
    except ConnectionError as error:
        raise _no_cluster(address, flag, error) from None
    except ray.exceptions.AuthenticationError:
        raise ConfigError(
            f"The Ray cluster at {flag} {address} wants its token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to "
            f"what its nodes were started with."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _check_address(address: str, flag: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except OSError as error:
            raise _no_cluster(address, flag, error) from None


def _no_cluster(address: str, flag: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"There is no Ray cluster at {flag} {address} ({error}). Start one with `ray start --head`, or use "
        f"{flag} local."
    )


def _short_folder() -> Path:
    """A folder for Ray's sockets and logs, which goes with the cluster."""
    folder = Path(tempfile.gettempdir())
    if len(str(folder)) > LONGEST_FOLDER:
        folder = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="ray-", dir=folder))
