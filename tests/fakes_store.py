"""Stores for tests: one that fails at a chosen operation, one that lags like NFS, one that is full, one that counts; an S3 server."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tsal_dist.errors import DiskFull, ExchangeError
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.objects import ObjectStore
from tsal_dist.exchange.store import NameAbsent

OPERATIONS = ("put_new", "replace", "append", "get", "children", "move", "delete")


class Killed(BaseException):
    """The process died here: nothing above may catch it."""


class Wrapped:
    """Passes every operation on to `inner` through `before` and `after`."""

    def __init__(self, inner):
        self.inner = inner
        self.appends = inner.appends

    def where(self, name=""):
        return self.inner.where(name)

    def before(self, operation, name, args):
        pass

    def after(self, operation, name, args):
        pass

    def _run(self, operation, name, *args):
        self.before(operation, name, args)
        result = getattr(self.inner, operation)(name, *args)
        self.after(operation, name, args)
        return result

    def put_new(self, name, data):
        return self._run("put_new", name, data)

    def replace(self, name, data):
        return self._run("replace", name, data)

    def append(self, name, data, at):
        return self._run("append", name, data, at)

    def get(self, name, start=0, length=None):
        return self._run("get", name, start, length)

    def children(self, folder, after=""):
        return self._run("children", folder, after)

    def move(self, name, target):
        return self._run("move", name, target)

    def delete(self, name):
        return self._run("delete", name)


class FaultyStore(Wrapped):
    """Fails at operation number `at`: before it happens, after it happened, or (appends) with half of it done."""

    def __init__(self, inner, at=-1, when="before", error=Killed):
        super().__init__(inner)
        self.at = at
        self.when = when
        self.error = error
        self.count = 0

    def before(self, operation, name, args):
        self.count += 1
        if self.count != self.at:
            return
        if self.when == "half" and operation == "append":
            data, place = args
            self.inner.append(name, bytes(data)[: len(data) // 2], place)
        if self.when != "after":
            raise self.error(f"injected before {operation} {name}")

    def after(self, operation, name, args):
        if self.count == self.at and self.when == "after":
            raise self.error(f"injected after {operation} {name}")


class LaggingStore(Wrapped):
    """One NFS client: listings and negative lookups are served from a cache until `refresh` is called.

    An existing file is read coherently (close-to-open), as its writer closed it before.
    """

    def __init__(self, inner):
        super().__init__(inner)
        self._listings = {}
        self._absent = set()

    def refresh(self):
        self._listings.clear()
        self._absent.clear()

    def children(self, folder, after=""):
        if folder not in self._listings:
            self._listings[folder] = self.inner.children(folder)
        return [name for name in self._listings[folder] if name > after]

    def get(self, name, start=0, length=None):
        if name in self._absent:
            raise NameAbsent(f"{name}: negative lookup from the cache")
        try:
            return self.inner.get(name, start, length)
        except NameAbsent:
            self._absent.add(name)
            raise


class CountingStore(Wrapped):
    """Counts operations by kind."""

    def __init__(self, inner):
        super().__init__(inner)
        self.counts = Counter()

    def before(self, operation, name, args):
        self.counts[operation] += 1


class FullDisk(Wrapped):
    """Refuses to write for as long as it is `full`; what is there can be read, and removed."""

    full = False

    def before(self, operation, name, args):
        if self.full and operation in ("put_new", "replace", "append"):
            raise DiskFull(f"Cannot write {self.where(name)}: the disk is full.")


def flaky(inner, at, when="before"):
    """A store whose operation `at` fails like a full disk; later ones work."""
    return FaultyStore(inner, at, when, ExchangeError)


@contextmanager
def s3_filesystem() -> Iterator[object]:
    """An fsspec filesystem on a local S3 server with one bucket, `queue`."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        filesystem = s3fs.S3FileSystem(
            key="test",
            secret="test",
            endpoint_url=f"http://{host}:{port}",
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        if not filesystem.exists("queue"):  # servers of one process share what they hold
            filesystem.mkdir("queue")
        yield filesystem
    finally:
        server.stop()


def object_store(filesystem, prefix):
    return ObjectStore(filesystem, f"queue/{prefix}")


def memory_store():
    return MemoryStore()
