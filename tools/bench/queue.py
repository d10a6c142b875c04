"""The label queue, measured against plain parquet on the same rows in the same run.

    python -m tools.bench.queue
    python -m tools.bench.queue --quick

round trip   publish + poll + plan + consume to numpy, checksums on, 8192 rows a segment, one source,
             against pq.write_table + pq.read_table with default options, one file
lists        the same against the same rows as FixedSizeList columns, the idiomatic first table
wide         `round trip` with three sources: more bytes to checksum for each thing to do
small        `round trip` with 512 rows a segment
idle poll    one poll with 10 000 committed segments against one with 10
latency      commit to visible, between two processes that poll every millisecond
scale        rows per second through 1, 4, ... producers and consumers (processes), nothing may be lost

How the protocol behaves beyond one machine: tools/simulate_queue.py. Prints a line for each and one of JSON.
Both sides run under the launcher's allocator settings; the baseline verifies no checksum, ours does.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    from tsal_dist.pseudo.schema import LabelBatch
    from tsal_dist.pseudo.topic import Topic

SOURCES = ("heatmap", "center", "track")
AIM_RAW, AIM_LISTS, AIM_SMALL, AIM_POLL = 0.9, 2.0, 0.4, 1 / 1.2
CLIP_FRAMES = 8


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--rows", type=int, default=65_536, metavar="N", help="rows in a round trip (default: 65536)")
    add("--points", type=int, default=17, metavar="K", help="landmarks of a row (default: 17)")
    add("--rounds", type=int, default=7, metavar="N", help="rounds of each pair (default: 7)")
    add("--quick", action="store_true", help="one short round: does it run?")
    add("--folder", type=Path, metavar="DIR", help="where files are written (default: a temporary folder)")
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    import pyarrow as pa

    from tools.bench.paired_benchmark import compare_in_turns, json_line
    from tsal_dist.dist.environment import child_environment, read_environment

    if not read_environment().malloc_tuned:
        # The allocator reads its settings at the start of a process; a launcher sets them for training.
        os.execve(sys.executable, [sys.executable, "-m", "tools.bench.queue", *argv], child_environment({}))
    pa.set_cpu_count(1)
    if args.quick:
        args.rows, args.rounds = 4096, 1
    folder = Path(tempfile.mkdtemp(dir=args.folder, prefix="bench-queue-"))
    results = []
    try:
        for name, aim, rows, lists in (
            ("round trip", AIM_RAW, 8192, False),
            ("lists", AIM_LISTS, 8192, True),
            ("wide", AIM_RAW, 8192, False),
            ("small", AIM_SMALL, 512, False),
        ):
            sources = SOURCES if name == "wide" else SOURCES[:1]
            trip = _RoundTrip(folder / name, args.rows, args.points, rows, lists, sources)
            results.append(compare_in_turns(name, aim, trip.ours, trip.raw, args.rounds, trip.tidy))
            print(results[-1].line(), flush=True)
        polls = _Polls(folder, 100 if args.quick else 10_000)
        results.append(compare_in_turns("idle poll", AIM_POLL, polls.many, polls.few, max(args.rounds, 3)))
        print(results[-1].line(), flush=True)
        latency = _latency_ms(folder, 20 if args.quick else 300)
        print("latency: median {median:.2f} ms, p99 {p99:.2f} ms".format(**latency), flush=True)
        scale = _scale(folder, [(1, 1), (2, 2)] if args.quick else [(1, 1), (4, 4), (16, 4), (64, 16)])
        settings = {"rows": args.rows, "points": args.points, "quick": args.quick}
        extra = {f"latency_{key}_ms": value for key, value in latency.items()}
        extra |= {f"scale_{name}_rows_per_s": value for name, value in scale.items()}
        print(json_line(results, **settings, **extra))
    finally:
        shutil.rmtree(folder)
    return 0


def _labels(rows: int, points: int, sources: tuple[str, ...] = SOURCES) -> "LabelBatch":
    import numpy as np

    from tsal_dist.pseudo.schema import LabelBatch, Strings

    rng = np.random.default_rng(0)
    ids = np.arange(rows)
    return LabelBatch(
        Strings((ids // 64).astype(np.int32), tuple(f"video-{i}" for i in range(-(-rows // 64)))),
        (ids % 64).astype(np.int32),
        (ids // CLIP_FRAMES).astype(np.uint64),
        (ids // 1024).astype(np.int32),
        (ids % 1024).astype(np.int32),
        rng.random((rows, 4), np.float32),
        {source: rng.random((rows, points, 2), np.float32) for source in sources},
        {source: rng.random((rows, points), np.float32) for source in sources},
        {source: rng.random((rows, points)) < 0.8 for source in sources},
        rng.random((rows, points), np.float32),
    )


def _open(folder: Path, points: int, sources: tuple[str, ...] = SOURCES) -> "Topic":
    from tsal_dist.exchange.posix import PosixStore
    from tsal_dist.pseudo.schema import labels_schema
    from tsal_dist.pseudo.topic import open_topic

    schema = labels_schema(points, sources, unit=CLIP_FRAMES)
    return open_topic(PosixStore(folder, create=True), schema, "bench")


class _RoundTrip:
    """The same rows through the queue and through one plain file, each to numpy columns."""

    def __init__(
        self, folder: Path, rows: int, points: int, segment_rows: int, lists: bool, sources: tuple[str, ...]
    ) -> None:
        from tsal_dist.pseudo.consumer import Consumer
        from tsal_dist.pseudo.planner import Planner
        from tsal_dist.pseudo.producer import Producer
        from tsal_dist.pseudo.staleness import Staleness

        self._folder = folder
        self._folder.mkdir()
        self._sources = sources
        self._rows = rows
        self._segment_rows = segment_rows
        self._lists = lists
        self._batch = _labels(rows, points, sources)
        topic = _open(self._folder / "queue", points, sources)
        staleness = Staleness(0.99)
        self._producer = Producer(topic, "teacher", 0, 1, max_rows=segment_rows)
        self._planner = Planner(topic, "student", staleness)
        verified = self._planner.intake.take_verified
        self._consumer = Consumer(topic, 0, staleness, verified=verified)
        self._step = 0

    def ours(self) -> int:
        """All rows through a queue that is open, as it is for the length of a run."""
        self._step += 1
        self._producer.publish(
            self._batch, self._step
        )  # of a new teacher each time, or they would be duplicates
        self._producer.flush()
        self._planner.tick()
        done = 0
        while (plan := self._planner.plan(self._step, self._segment_rows, 1)).rows_per_rank:
            done += len(self._consumer.fetch(plan))
            self._planner.trained(self._step)
            self._step += 1
        if done != self._rows:
            raise AssertionError(f"{done} of {self._rows} rows came through")
        return done

    def raw(self) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._folder / "raw.parquet"
        table = pa.table({name: self._column(column) for name, column in self._batch.columns().items()})
        pq.write_table(table, path)
        back = pq.read_table(path)
        for name in back.column_names:
            self._numpy(back.column(name).combine_chunks())
        return len(back)

    def _column(self, column: Any) -> Any:
        import numpy as np
        import pyarrow as pa

        from tsal_dist.pseudo.schema import Strings

        if isinstance(column, Strings):
            return pa.DictionaryArray.from_arrays(column.codes, pa.array(column.names))
        if column.ndim == 1:
            return pa.array(column)
        flat: Any = np.ascontiguousarray(column)
        if self._lists:
            return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat[0].size)
        if flat.dtype == bool:
            flat = np.packbits(flat, axis=1)
        return pa.Array.from_buffers(pa.binary(flat[0].nbytes), len(flat), [None, pa.py_buffer(flat)])

    def _numpy(self, array: Any) -> Any:
        import numpy as np
        import pyarrow as pa

        if pa.types.is_dictionary(array.type):
            return np.asarray(array.indices)
        if pa.types.is_fixed_size_list(array.type):
            return array.flatten().to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_binary(array.type):
            return np.frombuffer(array.buffers()[1], np.uint8)
        return array.to_numpy(zero_copy_only=False)

    def tidy(self) -> None:
        from tsal_dist.pseudo.collect import collect_garbage

        self._planner.commit([self._planner.state_dict()])
        collect_garbage(self._planner.topic.store)
        (self._folder / "raw.parquet").unlink(missing_ok=True)


class _Polls:
    """Two topics with one live producer each, one of them with a long history."""

    def __init__(self, folder: Path, segments: int) -> None:
        self.few = self._idle(folder / "few", 10)
        self.many = self._idle(folder / "many", segments)

    def _idle(self, folder: Path, segments: int) -> Any:
        from tsal_dist.pseudo.planner import Planner
        from tsal_dist.pseudo.producer import Producer
        from tsal_dist.pseudo.staleness import Staleness

        topic, batch = _open(folder, 5), _labels(CLIP_FRAMES, 5)
        producer = Producer(topic, "teacher", 0, 1, max_rows=CLIP_FRAMES)
        for _ in range(segments):
            producer.publish(batch, 0)
        planner = Planner(topic, "student", Staleness(0.99))
        while planner.intake.poll():
            pass

        def polls() -> int:
            for _ in range(2000):
                planner.intake.poll()
            return 2000

        return polls


def _latency_ms(folder: Path, rounds: int) -> dict[str, float]:
    from tsal_dist.exchange.doctor import measure_latency
    from tsal_dist.exchange.posix import PosixStore

    store = PosixStore(folder / "latency", create=True)
    helper = multiprocessing.get_context("spawn").Process(target=_answer, args=(folder / "latency",))
    helper.start()
    found = sorted(measure_latency(store, rounds, timeout_s=60))
    helper.join()
    return {"median": statistics.median(found), "p99": found[int(0.99 * (len(found) - 1))]}


def _answer(folder: Path) -> None:
    from tsal_dist.exchange.doctor import answer
    from tsal_dist.exchange.posix import PosixStore

    answer(PosixStore(folder), idle_s=2)


def _scale(folder: Path, shapes: list[tuple[int, int]]) -> dict[str, float]:
    """All rows of all producers through one planner to all consumers; producers and consumers in two processes."""
    found = {}
    for producers, consumers in shapes:
        place = folder / f"scale-{producers}-{consumers}"
        topic = _open(place, 17)
        rows_each = 65_536 // producers
        start = time.perf_counter()
        crowd = multiprocessing.get_context("spawn").Process(
            target=_produce, args=(place, producers, rows_each)
        )
        crowd.start()
        came = _consume(topic, producers, consumers, producers * rows_each)
        elapsed_s = time.perf_counter() - start
        crowd.join()
        name = f"{producers}x{consumers}"
        if came != producers * rows_each:
            raise AssertionError(f"{came} of {producers * rows_each} rows came through {name}")
        found[name] = came / elapsed_s
        print(f"scale {name}: {found[name]:,.0f} rows/s, none lost", flush=True)
    return found


def _produce(place: Path, producers: int, rows_each: int) -> None:
    from tsal_dist.pseudo.producer import Producer

    topic = _open(place, 17)
    crowd: list[Producer] = [Producer(topic, "teacher", rank, 1, max_rows=512) for rank in range(producers)]
    batch = _labels(rows_each, 17)
    for rank, producer in enumerate(crowd):
        producer.publish(batch, rank)  # another teacher step each, or they would be duplicates
    for producer in crowd:
        producer.close()


def _consume(topic: "Topic", producers: int, consumers: int, rows: int) -> int:
    from tsal_dist.pseudo.consumer import Consumer
    from tsal_dist.pseudo.planner import Planner
    from tsal_dist.pseudo.staleness import Staleness

    staleness = Staleness(0.99)
    planner = Planner(topic, "student", staleness, discover_s=0.1, dedupe_units=2 * rows)
    readers = [Consumer(topic, rank, staleness) for rank in range(consumers)]
    came = step = 0
    deadline = time.monotonic() + 120
    while came < rows and time.monotonic() < deadline:
        planner.tick()
        plan = planner.plan(step, 256, consumers)
        if not plan.rows_per_rank and planner.pending_rows:
            plan = planner.plan(step, CLIP_FRAMES, 1)  # the rest that does not divide by the consumers
        came += sum(len(readers[rank].fetch(plan)) for rank in range(len(plan.ranks)))
        planner.trained(step)
        step += 1
    return came


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
