"""A store on S3 or another object store, through fsspec.

There is no append and no rename; what carries the protocol is the conditional put: a put that the store refuses
where the name exists (`If-None-Match: *`). A backend that ignores the condition is found out when a queue is
created on it, see `tsal_dist.pseudo.topic`. Listings are asked to start after the last name seen where the
backend can (S3), and filtered here where it cannot.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import Bytes, NameAbsent, NameTaken, check_name

PAGE_NAMES = 1000  # the most that S3 gives in one answer


class ObjectStore:
    """Objects below `root` ("bucket/prefix") of an fsspec filesystem."""

    appends = False

    def __init__(self, filesystem: Any, root: str) -> None:
        self._fs = filesystem
        self._root = root.strip("/")
        self._failures: tuple[type[Exception], ...] = (OSError,)
        if hasattr(filesystem, "call_s3"):
            # s3fs passes on as it is what botocore says of an unreachable endpoint.
            from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

            self._failures = (OSError, BotoCoreError)

    def where(self, name: str = "") -> str:
        protocol = self._fs.protocol if isinstance(self._fs.protocol, str) else self._fs.protocol[0]
        return f"{protocol}://{self._root}/{name}"

    def put_new(self, name: str, data: Bytes) -> None:
        with self._plainly("write", name):
            try:
                self._fs.pipe_file(self._key(name), bytes(data), mode="create")
            except FileExistsError:
                raise NameTaken(f"{self.where(name)} exists already.") from None

    def replace(self, name: str, data: Bytes) -> None:
        with self._plainly("write", name):
            self._fs.pipe_file(self._key(name), bytes(data))

    def append(self, name: str, data: Bytes, at: int) -> None:
        raise ExchangeError(f"{self.where(name)} cannot grow: an object store has no append.")

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        end = None if length is None else start + length
        with self._plainly("read", name):
            data: bytes = self._fs.cat_file(self._key(name), start=start or None, end=end)
        return data

    def children(self, folder: str, after: str = "") -> list[str]:
        prefix = self._key(folder) + "/"
        with self._plainly("list", folder):
            keys = self._list_s3(prefix, after) if hasattr(self._fs, "call_s3") else self._list(prefix)
        names = {key[len(prefix) :].strip("/").split("/")[0] for key in keys if key.startswith(prefix)}
        return sorted(name for name in names if name and name > after)

    def move(self, name: str, target: str) -> None:
        with self._plainly("move", name):
            self._fs.cp_file(self._key(name), self._key(target))
            self._fs.rm_file(self._key(name))

    def delete(self, name: str) -> None:
        with self._plainly("delete", name):
            try:
                self._fs.rm_file(self._key(name))
            except FileNotFoundError:
                return

    def _key(self, name: str) -> str:
        return f"{self._root}/{check_name(name)}"

    def _list(self, prefix: str) -> list[str]:
        try:
            self._fs.invalidate_cache(prefix.rstrip("/"))
            return [str(key).lstrip("/") for key in self._fs.ls(prefix.rstrip("/"), detail=False)]
        except FileNotFoundError:
            return []

    def _list_s3(self, prefix: str, after: str) -> list[str]:
        bucket, _, key = prefix.partition("/")
        query: dict[str, Any] = {"Bucket": bucket, "Prefix": key, "Delimiter": "/", "MaxKeys": PAGE_NAMES}
        if after:
            query["StartAfter"] = key + after
        found: list[str] = []
        while True:
            page = self._fs.call_s3("list_objects_v2", **query)
            found += [item["Key"] for item in page.get("Contents", [])]
            found += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
            if not page.get("IsTruncated"):
                return [f"{bucket}/{name}" for name in found]
            query["ContinuationToken"] = page["NextContinuationToken"]

    @contextmanager
    def _plainly(self, action: str, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NameAbsent(f"{self.where(name)} does not exist.") from None
        except self._failures as error:
            raise ExchangeError(
                f"Cannot {action} {self.where(name)}: {str(error) or type(error).__name__}. "
                f"Check the bucket, the credentials and the endpoint."
            ) from error
