"""Where a store is, from what a person writes: a path, or a URL that fsspec understands."""

from pathlib import Path

from tsal_dist.address import is_url, refuse_secrets
from tsal_dist.errors import ConfigError
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.store import Store


def open_store(place: str | Path, *, create: bool = False, durable: bool = False) -> Store:
    """The store at `place`. `create` makes a missing folder; object stores need no folders."""
    text = refuse_secrets(str(place), "The address of the queue")
    if not is_url(text):
        return PosixStore(Path(text), create=create, durable=durable)
    import fsspec

    from tsal_dist.exchange.objects import ObjectStore

    try:
        filesystem, root = fsspec.core.url_to_fs(text, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{text!r} cannot be opened: {error}.") from error
    return ObjectStore(filesystem, root)
