"""The shards of one or more folders, numbered through, as files on this machine.

Local shards are read in place. Those of an object store go through a cache, whole; `fetch_ahead` starts that in
the background, so that workers find them there.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tsal_dist.config.data import DataConfig
from tsal_dist.data.cache import ShardCache
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.records import FrameRef, Layout
from tsal_dist.shards.files import is_local, local_path, read_bytes
from tsal_dist.shards.frames import FrameTable, decode_frames
from tsal_dist.shards.index import Index, decode_index
from tsal_dist.shards.manifest import Manifest, Segment, open_manifest

CACHE_FOLDER = "tsal_dist-shards"
ONE_ORDER = "each would be taken for another one. Bring the labels into that order and pack them again, or name others"


@dataclass(frozen=True)
class ShardFiles:
    """Local paths of one shard."""

    tar: Path
    idx: Path
    parquet: Path


@dataclass(frozen=True)
class LocalTar:
    """A tar that is read where it lies, and what its manifest says of it."""

    path: Path
    url: str
    size_bytes: int
    sha256: str


class ShardSet:
    """What the manifests promise; opens no shard. It travels to worker processes."""

    def __init__(self, manifests: Sequence[Manifest], cache: ShardCache | None) -> None:
        self.manifests = tuple(manifests)
        self._cache = cache
        self._places = [
            (manifest, number) for manifest in manifests for number in range(len(manifest.shards))
        ]
        self.fingerprint = fingerprint_of(manifests)
        self.points, self.scheme, self.layout = _common_layout(manifests)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def remote(self) -> bool:
        return any(not is_local(manifest.url) for manifest in self.manifests)

    def segments(self, shard: int) -> tuple[Segment, ...]:
        manifest, number = self._places[shard]
        return manifest.shards[number].segments

    def is_still(self, ref: FrameRef) -> bool:
        """Whether it is a picture of its own and no frame of a video."""
        manifest, number = self._places[ref.shard]
        return manifest.shards[number].is_still(ref.index)

    def frame_name(self, ref: FrameRef, video: str, frame: int) -> str:
        """For people; `frame` is what the frame table says."""
        manifest, number = self._places[ref.shard]
        return manifest.shards[number].frame_name(ref.index, video, frame)

    def tar_bytes(self, shard: int) -> int:
        manifest, number = self._places[shard]
        return manifest.shards[number].tar_bytes

    def name(self, shard: int) -> str:
        """For messages."""
        manifest, number = self._places[shard]
        return manifest.tar_url(number)

    def local_tars(self) -> list[LocalTar]:
        """Those that no cache has compared with their manifest."""
        return [
            LocalTar(
                local_path(manifest.tar_url(number)),
                manifest.tar_url(number),
                record.tar_bytes,
                record.tar_sha256,
            )
            for manifest in self.manifests
            if is_local(manifest.url)
            for number, record in enumerate(manifest.shards)
        ]

    def files(self, shard: int) -> ShardFiles:
        """Local paths; of a remote shard, after fetching what is not here yet."""
        manifest, number = self._places[shard]
        urls = manifest.tar_url(number), manifest.idx_url(number), manifest.parquet_url(number)
        if is_local(manifest.url) or self._cache is None:
            return ShardFiles(*(local_path(url) for url in urls))
        record = manifest.shards[number]
        digests = record.tar_sha256, record.idx_sha256, record.parquet_sha256
        return ShardFiles(*(self._cache.fetch(url, sha) for url, sha in zip(urls, digests, strict=True)))

    def tables(self, shard: int, files: ShardFiles) -> tuple[Index, FrameTable]:
        """Index and frame table of a shard, which must be those of its manifest: they say which pixels are which frame,
        and where its landmarks lie. The index in turn has a checksum of every image.

        DataError where they are not.
        """
        manifest, number = self._places[shard]
        record = manifest.shards[number]
        index_data = _read_as(files.idx, record.idx_sha256, manifest.idx_url(number))
        table_data = _read_as(files.parquet, record.parquet_sha256, manifest.parquet_url(number))
        index, made_for = decode_index(index_data, manifest.idx_url(number))
        size = files.tar.stat().st_size
        if size != made_for:
            raise DataError(
                f"{manifest.idx_url(number)} describes a tar of {made_for} bytes, but the tar has {size}."
            )
        return index, decode_frames(table_data, manifest.parquet_url(number))

    def shared_with(self, other: "ShardSet") -> frozenset[int]:
        """The shards of this set that are also in `other`."""
        theirs = {manifest.fingerprint for manifest in other.manifests}
        return frozenset(
            shard for shard, (manifest, _) in enumerate(self._places) if manifest.fingerprint in theirs
        )

    def require_cache_for(self, shards: int) -> None:
        """Refuse a cache that cannot hold this many of the largest shards."""
        if self.remote and self._cache is not None:
            sizes = sorted((self.tar_bytes(shard) for shard in range(len(self))), reverse=True)
            self._cache.require(sum(sizes[:shards]))


class FetchAhead:
    """Fetches remote shards in the background, in the order in which they will be read."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards = shards
        self._pool = ThreadPoolExecutor(4, "fetch-shards") if shards.remote else None
        self._coming: dict[int, Future[ShardFiles]] = {}

    def start(self, wanted: Sequence[int]) -> None:
        """Begin to fetch these shards, and forget those asked for before that are not among them."""
        if self._pool is None:
            return
        for shard in set(self._coming) - set(wanted):
            self._coming.pop(shard)
        for shard in wanted:
            if shard not in self._coming:
                self._coming[shard] = self._pool.submit(self._shards.files, shard)

    def wait(self, shard: int) -> None:
        """Return when this shard is here."""
        if shard in self._coming:
            self._coming[shard].result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def open_shards(urls: Sequence[str], cache_dir: str = "", cache_gb: float = 50.0) -> ShardSet:
    """Read the manifests at these folders or URLs, in the order given: it decides the numbers of shards."""
    if not urls:
        raise ConfigError("No shards are named. Give at least one folder or URL that holds a manifest.json.")
    manifests = [open_manifest(url) for url in urls]
    cache = None
    if any(not is_local(url) for url in urls):
        folder = Path(cache_dir) if cache_dir else Path(tempfile.gettempdir()) / CACHE_FOLDER
        cache = ShardCache(folder, int(cache_gb * 1e9))
    return ShardSet(manifests, cache)


def fingerprint_of(manifests: Sequence[Manifest]) -> str:
    """Of a set of these folders in this order."""
    return hashlib.sha256("".join(manifest.fingerprint for manifest in manifests).encode()).hexdigest()


def open_cached(urls: Sequence[str], data: DataConfig) -> ShardSet:
    """As `open_shards`, with the cache for remote shards that a config asks for."""
    return open_shards(urls, data.cache_dir, data.cache_gb)


def _read_as(path: Path, sha256: str, url: str) -> bytes:
    """The file's bytes, if they have the digest that the manifest promises."""
    data = read_bytes(str(path))
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataError(not_as_packed(url, found, sha256))
    return data


def not_as_packed(url: str, found: str, sha256: str) -> str:
    """What is said of a file whose digest was `found` to be another one than its manifest's."""
    return (
        f"{url} has the digest {found[:12]}, its manifest says {sha256[:12]}: it was changed or damaged after it was "
        f"packed. Fetch or pack the shards again; `tsal shards lint` names all that differ."
    )


def refuse_other_names(
    one: str, names: Sequence[str], other: str, other_names: Sequence[str], rule: str = ONE_ORDER
) -> None:
    """ConfigError where `one` and the `other`, of equally many landmarks, both have names for them that are not the same
    in the same order: what is learnt or measured of a landmark would be another one's. Without names any order fits."""
    for ours, theirs in zip(names, other_names, strict=False):
        if ours != theirs:
            raise ConfigError(f"{one} calls a landmark {ours!r} that {other} calls {theirs!r}: {rule}.")


def _common_layout(manifests: Sequence[Manifest]) -> tuple[int, str, Layout]:
    """Number of landmarks, name of the scheme, and what each landmark is called; folders without labels fit any."""
    labelled = [manifest for manifest in manifests if manifest.points]
    if len({manifest.points for manifest in labelled}) > 1:
        found = ", ".join(f"{each.url} has {each.points} ({each.scheme})" for each in labelled)
        raise ConfigError(
            f"One stream cannot mix numbers of landmarks: {found}. Train on one layout at a time."
        )
    named = [manifest for manifest in labelled if manifest.names]
    for other in named[1:]:
        refuse_other_names(
            *(named[0].url, named[0].names, other.url, other.names),
            "one stream cannot mix orders of landmarks. Bring the labels into one order and pack again",
        )
    if not labelled:
        return 0, "", Layout()
    return labelled[0].points, labelled[0].scheme, named[0].layout if named else labelled[0].layout
