"""The seam between the protocol and whatever keeps its bytes.

A store maps names (`a/b/c`, relative, no `..`) to bytes. Everything above it relies on these promises and on
nothing else, so that a filesystem, an object store and a dictionary can stand in for each other:

put_new    The name appears whole or not at all, and only one of several writers succeeds; the others get
           `NameTaken`. A writer that dies inside leaves the name absent or complete.
replace    Readers see the old bytes or the new ones, never a mixture. One writer per name.
append     Writes at byte `at`, which is the end of the file or a torn tail after it. One writer per name, so a
           repeated append is harmless. Readers may see any prefix of what was written. Only where `appends`.
get        Sees every write that returned before it was called, for names that existed when they were last
           looked at. A name that does not exist may stay invisible for a minute after it appears (NFS keeps
           negative lookups), so nothing on a hot path asks for names that may be absent.
children   The names directly below a folder, sorted, those greater than `after`. May be stale on NFS.
move       Takes a name away without reading it; the target is complete when it appears.
delete     An absent name is no error.

Failures are `ExchangeError`s that name the place and the remedy.
"""

from typing import Protocol, TypeAlias

from tsal_dist.errors import ExchangeError

Bytes: TypeAlias = bytes | memoryview


class NameTaken(ExchangeError):
    """`put_new` found the name in use."""


class NameAbsent(ExchangeError):
    """`get` or `move` found nothing under the name."""


class NameCut(ExchangeError):
    """`append` found fewer bytes than its writer has put there: somebody else was at it."""


class Store(Protocol):
    """See the module's contract."""

    @property
    def appends(self) -> bool:
        """Whether `append` exists; if not, logs are numbered objects."""
        ...

    def where(self, name: str = "") -> str:
        """The place as a person would look for it."""
        ...

    def put_new(self, name: str, data: Bytes) -> None: ...

    def replace(self, name: str, data: Bytes) -> None: ...

    def append(self, name: str, data: Bytes, at: int) -> None: ...

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes: ...

    def children(self, folder: str, after: str = "") -> list[str]: ...

    def move(self, name: str, target: str) -> None: ...

    def delete(self, name: str) -> None: ...


def check_name(name: str) -> str:
    """`name`, or an error where it could leave the store's root."""
    parts = name.split("/")
    if not name or name.startswith("/") or "\\" in name or any(part in {"", ".", ".."} for part in parts):
        raise ExchangeError(f"{name!r} is no name of a store: it must be relative and without '..'.")
    return name


def ensure(store: Store, name: str) -> None:
    """Make `name` exist, empty, so that waiting for its content never asks for an absent name."""
    try:
        store.put_new(name, b"")
    except NameTaken:
        return
