"""Look after a queue of pseudo-labels: a topic's folder (runs/x/queue/labels) or its URL (s3://bucket/x/queue/labels).

label_queue.py info   TOPIC            producers, rows, backlog of every consumer group
label_queue.py tail   TOPIC -n 20      the latest commits; --follow goes on
label_queue.py lint   TOPIC            read and check everything; exit code 1 if rows are lost
label_queue.py gc     TOPIC            collect what no checkpoint needs, and orphans; only while no run uses it
label_queue.py export TOPIC OUT        one parquet file with lists, one row per frame, with its origin
label_queue.py doctor FOLDER           is this mount fit for a run? `--answer` on a second host measures between two
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    from tsal_dist.pseudo.topic import Topic

ORPHAN_TMP_S = 3600


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    plain = argparse.ArgumentParser(add_help=False)
    plain.add_argument("--json", action="store_true", help="one JSON document per answer (default: off)")
    plain.add_argument("place", metavar="TOPIC", help="folder or URL of the topic")
    verbs.add_parser("info", parents=[plain], help="producers, rows, backlog")
    tail = verbs.add_parser("tail", parents=[plain], help="the latest commits")
    tail.add_argument("-n", type=int, default=10, metavar="N", help="how many (default: 10)")
    tail.add_argument("--follow", action="store_true", help="go on until interrupted (default: off)")
    verbs.add_parser("lint", parents=[plain], help="read and check everything")
    gc = verbs.add_parser("gc", parents=[plain], help="collect garbage")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go (default: off)")
    export = verbs.add_parser("export", parents=[plain], help="one parquet file for people")
    export.add_argument("out", type=Path, metavar="OUT", help="the file to write")
    doctor = verbs.add_parser("doctor", parents=[plain], help="measure a mount")
    doctor.add_argument("--rounds", type=int, default=50, metavar="N", help="of each operation (default: 50)")
    doctor.add_argument("--answer", action="store_true", help="be the far side of --latency (default: off)")
    doctor.add_argument(
        "--latency", action="store_true", help="measure against --answer elsewhere (default: off)"
    )
    doctor.add_argument(
        "--wait-s", type=float, default=60, metavar="S", help="for the other side (default: 60)"
    )
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.verb == "doctor":
        return _doctor(args)
    from tsal_dist.exchange.locate import open_store
    from tsal_dist.pseudo.topic import inspect_topic

    topic = inspect_topic(open_store(args.place))
    verbs = {"info": _info, "tail": _tail, "lint": _lint, "gc": _gc, "export": _export}
    return verbs[args.verb](topic, args)


def _info(topic: "Topic", args: argparse.Namespace) -> int:
    from tsal_dist.pseudo.survey import survey_groups, survey_producers

    producers, groups = survey_producers(topic), survey_groups(topic)
    page = {
        "place": topic.store.where(),
        "uuid": topic.uuid,
        "run_id": topic.run_id,
        "topic": topic.schema.topic,
        "fingerprint": topic.schema.fingerprint,
        "producers": [asdict(each) for each in producers],
        "groups": groups,
    }
    if args.json:
        print(json.dumps(page, indent=1))
        return 0
    print(f"{page['place']}  topic {page['topic']}, run {topic.run_id}, queue {topic.uuid}")
    head = f"{'producer':26} {'segments':>8} {'rows':>10} {'MB':>8} {'steps':>15} {'age s':>7}  state"
    print(head)
    for each in producers:
        age = (time.time_ns() - each.last_t_ns) / 1e9 if each.last_t_ns else 0
        notes = ["sealed" if each.sealed else "open"] + (
            [f"{each.holes} damaged records"] if each.holes else []
        )
        notes += [f"{each.collected} collected"] if each.collected else []
        notes = [f"not read: {each.fault}"] if each.fault else notes
        steps = f"{each.first_step}..{each.last_step}"
        print(
            f"{each.name:26} {each.segments:8,} {each.rows:10,} {each.bytes / 1e6:8.1f} {steps:>15} {age:7.0f}  "
            + ", ".join(notes)
        )
    for name, group in groups.items():
        backlog = sum(group["backlog_rows"].values())
        print(f"group {name}: trained to step {group['step']}, {backlog:,} rows behind")
    return 0


def _tail(topic: "Topic", args: argparse.Namespace) -> int:
    from tsal_dist.errors import ExchangeError
    from tsal_dist.pseudo.log import LogReader, Record
    from tsal_dist.pseudo.topic import list_producers

    readers: dict[str, Any] = {}
    unread: set[str] = set()
    fresh = True
    while fresh or args.follow:
        found = []
        for name in list_producers(topic.store):
            reader = readers.setdefault(name, LogReader(topic.store, name))
            try:
                found += [(record, name) for record in reader.read() if isinstance(record, Record)]
            except ExchangeError as error:
                if name not in unread:
                    print(f"{name} is passed over: {error}", file=sys.stderr)
                unread.add(name)
        found.sort(key=lambda item: item[0].t_ns)
        for record, name in found[-args.n :] if fresh else found:
            if args.json:
                print(json.dumps({"producer": name, **asdict(record)}), flush=True)
            else:
                at = time.strftime("%H:%M:%S", time.localtime(record.t_ns / 1e9))
                print(
                    f"{at} {name} {record.kind.name.lower()} {record.seq}: {record.rows} rows of step {record.step}, "
                    f"{record.size:,} bytes",
                    flush=True,
                )
        fresh = False
        if args.follow:
            time.sleep(0.5)
    return 0


def _lint(topic: "Topic", args: argparse.Namespace) -> int:
    from tsal_dist.pseudo.survey import lint_topic

    findings = list(lint_topic(topic))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{'LOST' if finding.harm else 'note'}  {finding.place}: {finding.what}")
        print(f"{len(findings)} findings, {sum(finding.harm for finding in findings)} with lost rows")
    return int(any(finding.harm for finding in findings))


def _gc(topic: "Topic", args: argparse.Namespace) -> int:
    from tsal_dist.exchange.posix import PosixStore
    from tsal_dist.pseudo.collect import collect_garbage, collect_orphans

    page = {
        "segments": collect_garbage(topic.store, dry_run=args.dry_run),
        "orphans": collect_orphans(topic.store, dry_run=args.dry_run),
        "temporary": 0,
    }
    if isinstance(topic.store, PosixStore) and not args.dry_run:
        page["temporary"] = topic.store.sweep(ORPHAN_TMP_S)
    if args.json:
        print(json.dumps(page))
    else:
        done = "would go" if args.dry_run else "deleted"
        print(", ".join(f"{count} {name}" for name, count in page.items()), done)
    return 0


def _export(topic: "Topic", args: argparse.Namespace) -> int:
    from tsal_dist.pseudo.export import export_topic

    rows, skipped = export_topic(topic, args.out)
    page = {"rows": rows, "skipped_segments": skipped, "file": str(args.out)}
    print(json.dumps(page) if args.json else f"{rows:,} rows in {args.out}, {skipped} segments left out")
    return int(skipped > 0)


def _doctor(args: argparse.Namespace) -> int:
    import shutil
    import statistics

    from tsal_dist.exchange.doctor import FOLDER, answer, check_promises, measure_latency, measure_operations
    from tsal_dist.exchange.locate import open_store
    from tsal_dist.exchange.posix import PosixStore

    store = open_store(args.place)
    if args.answer:
        count = answer(store, args.wait_s)
        print(json.dumps({"answered": count}) if args.json else f"answered {count} times")
        return 0
    broken = check_promises(store)
    page: dict[str, Any] = {
        "place": store.where(),
        "broken": broken,
        "ms": measure_operations(store, args.rounds),
    }
    if "://" not in args.place:
        page["ms_durable"] = measure_operations(open_store(args.place, durable=True), args.rounds)
    if args.latency:
        ways = sorted(measure_latency(store, args.rounds, args.wait_s))
        page["commit_to_visible_ms"] = {"median": statistics.median(ways), "max": ways[-1]}
    if isinstance(store, PosixStore):
        shutil.rmtree(store.root / FOLDER, ignore_errors=True)  # deleting files leaves empty folders
    if args.json:
        print(json.dumps(page, indent=1))
        return int(bool(broken))
    for name, ms in page["ms"].items():
        durable = f"{page['ms_durable'][name]:10.3f} ms with fsync" if "ms_durable" in page else ""
        print(f"{name:16} {ms:10.3f} ms {durable}")
    if args.latency:
        print(
            "commit to visible, one way: median {median:.2f} ms, max {max:.2f} ms".format(
                **page["commit_to_visible_ms"]
            )
        )
    print("\n".join(broken) or "This store keeps every promise that the queue relies on.")
    return int(bool(broken))


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
