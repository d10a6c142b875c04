"""Is this mount fit to carry a run? Measured on the store itself, from one host or between two.

The latency from commit to visibility needs no common clock: one side appends (or puts) a number, the other repeats it, and
half of the round trip is what one way takes. Every name is made before it is waited for, as in the real protocol.
"""

import statistics
import time
import uuid
from collections.abc import Callable

from tsal_dist.errors import ExchangeError, PeerLost
from tsal_dist.exchange.store import NameAbsent, NameTaken, Store, ensure

FOLDER = "doctor"
RECORD_BYTES = 64
SEGMENT_BYTES = 1 << 19
"""What a segment of labels weighs."""
POLL_S = 0.001


def measure_operations(store: Store, rounds: int = 50) -> dict[str, float]:
    """Median milliseconds of each operation."""
    folder = f"{FOLDER}/{uuid.uuid4().hex}"
    data = bytes(SEGMENT_BYTES)
    for number in range(rounds):
        ensure(store, f"{folder}/there/{number:06d}")
    store.put_new(f"{folder}/log", b"")
    small = bytes(RECORD_BYTES)
    actions: dict[str, Callable[[int], object]] = {
        "put_new_segment": lambda n: store.put_new(f"{folder}/new/{n:06d}", data),
        "get_segment": lambda n: store.get(f"{folder}/new/{n:06d}"),
        "replace_small": lambda n: store.replace(f"{folder}/cursor", small),
        "get_small": lambda n: store.get(f"{folder}/cursor"),
        "list_folder": lambda n: store.children(f"{folder}/there"),
        "delete": lambda n: store.delete(f"{folder}/new/{n:06d}"),
    }
    if store.appends:
        actions["append_record"] = lambda n: store.append(f"{folder}/log", small, n * RECORD_BYTES)
    found = {name: _median_ms(action, rounds) for name, action in actions.items()}
    _remove(store, folder)
    return found


def check_promises(store: Store) -> list[str]:
    """What the store's contract says and this store does not do; empty for a fit one."""
    folder = f"{FOLDER}/{uuid.uuid4().hex}"
    broken = []
    store.put_new(f"{folder}/a", b"first")
    try:
        store.put_new(f"{folder}/a", b"second")
        broken.append("A name can be created twice: two processes could not be kept apart.")
    except NameTaken:
        if store.get(f"{folder}/a") != b"first":
            broken.append("A refused creation changed the content.")
    store.replace(f"{folder}/a", b"replaced")
    if store.get(f"{folder}/a") != b"replaced":
        broken.append("A replaced file still shows its old content to its own writer.")
    store.move(f"{folder}/a", f"{folder}/b/c")
    if store.get(f"{folder}/b/c") != b"replaced":
        broken.append("A moved file is not where it was moved to.")
    if store.appends:
        store.put_new(f"{folder}/log", b"")
        store.append(f"{folder}/log", b"12", 0)
        store.append(f"{folder}/log", b"34", 2)
        if store.get(f"{folder}/log") != b"1234":
            broken.append("An appended record is not visible to its own writer.")
    _remove(store, folder)
    return broken


def answer(store: Store, idle_s: float) -> int:
    """The far side of `measure_latency`: repeat what appears until nothing has for `idle_s`. Returns how often."""
    ensure(store, f"{FOLDER}/ping")
    ensure(store, f"{FOLDER}/pong")
    last, count, since = store.get(f"{FOLDER}/pong"), 0, time.monotonic()  # what was answered before
    while time.monotonic() - since < idle_s:
        try:
            seen = store.get(f"{FOLDER}/ping")
        except NameAbsent:
            break  # the other side has measured and tidied up
        if seen != last and seen:
            store.replace(f"{FOLDER}/pong", seen)
            last, count, since = seen, count + 1, time.monotonic()
        time.sleep(POLL_S)
    return count


def measure_latency(store: Store, rounds: int, timeout_s: float) -> list[float]:
    """Milliseconds from commit to visible, one way, against a process that runs `answer`."""
    ensure(store, f"{FOLDER}/ping")
    ensure(store, f"{FOLDER}/pong")
    found = []
    for _ in range(rounds):
        word = uuid.uuid4().hex.encode()
        start = time.monotonic()
        store.replace(f"{FOLDER}/ping", word)
        while store.get(f"{FOLDER}/pong") != word:
            if time.monotonic() - start > timeout_s:
                raise PeerLost(
                    f"Nobody answered in {store.where(FOLDER)} within {timeout_s:g} s. "
                    f"Start `tsal doctor --answer` with the same folder on the other host first."
                )
            time.sleep(POLL_S)
        found.append((time.monotonic() - start) * 500)
    return found


def _median_ms(action: Callable[[int], object], rounds: int) -> float:
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        action(number)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _remove(store: Store, folder: str) -> None:
    for name in store.children(folder):
        try:
            store.get(f"{folder}/{name}")
        except ExchangeError:
            _remove(store, f"{folder}/{name}")  # a folder
        else:
            store.delete(f"{folder}/{name}")
