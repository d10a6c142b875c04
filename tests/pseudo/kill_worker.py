"""A producer or a student in a process of its own, to be killed at any moment: `kill_worker.py ROLE FOLDER RANK`."""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fakes_rows import Scene, make_batch, rows_are_true
from tsal_dist.exchange.fence import RunEnd
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.pseudo.collect import collect_garbage
from tsal_dist.pseudo.credits import Credits
from tsal_dist.pseudo.topic import producer_name
from tsal_dist.run_dir import write_whole

UNIT, WORLD, ROWS = 2, 2, 6


def teach(run, rank):
    store = PosixStore(run)
    incarnation = begin_tenure(store, "teacher", rank, "run").incarnation
    scene = Scene(PosixStore(run / "queue"), UNIT)
    name = producer_name("teacher", rank, incarnation)
    credits = Credits(scene.store, name, ["student"], high_rows=600, low_rows=200, group_ttl_s=60)
    producer = scene.producer(rank, incarnation, credits=credits, max_rows=24, max_age_s=0.02)
    stop = RunEnd(store)
    next_id = (rank << 40) + (incarnation << 24)
    while not stop.reason():
        if producer.ready():
            producer.publish(make_batch(range(next_id, next_id + 4)), teacher_step=incarnation)
            next_id += 4
        producer.tick()
        time.sleep(0.0005)
    producer.close()


def learn(run):
    store = PosixStore(run)
    scene = Scene(PosixStore(run / "queue"), UNIT)
    planner = scene.planner(max_reuse=2, pool_rows=64, discover_s=0.05, cursor_s=0.02)
    consumers = [scene.consumer(rank) for rank in range(WORLD)]
    checkpoint, diary = run / "checkpoint.json", run / "diary.jsonl"
    step = size = 0
    if checkpoint.exists():
        saved = json.loads(checkpoint.read_bytes())
        step, size = saved["step"], saved["diary"]
        planner.load_state_dict(saved["planner"])
    diary.touch()
    os.truncate(diary, size)  # the model forgot what came after the checkpoint, so does the diary
    stop, draining = RunEnd(store), False
    with open(diary, "ab") as file:
        while True:
            planner.tick()
            draining = bool(stop.reason())
            plan = planner.plan(step, *((200 * UNIT, 1) if draining else (ROWS, WORLD)), reuse=not draining)
            for rank in range(len(plan.ranks)):
                delivery = consumers[rank].fetch(plan)
                assert rows_are_true(delivery.columns)
                assert not consumers[rank].damaged  # a weight may be nothing: thousands of steps are taken
            rows = [[row, part.use] for part in plan.ranges() for row in planned_rows_of(part)]
            file.write(json.dumps(rows).encode() + b"\n")
            planner.trained(step)
            step += 1
            if step % 20 == 0 or draining:
                file.flush()
                state = planner.state_dict()
                saved = {"step": step, "diary": file.tell(), "planner": state, "counts": planner.counts()}
                write_whole(checkpoint, json.dumps(saved).encode())
                planner.commit([state])
                collect_garbage(scene.store)
            if draining and not plan.rows_per_rank and stop.reason() == "drain":
                break
            time.sleep(0.002)


def planned_rows_of(part):
    return [(part.producer, part.seq, row) for row in range(part.start, part.stop)]


if __name__ == "__main__":
    role, folder, rank = sys.argv[1:]
    teach(Path(folder), int(rank)) if role == "teacher" else learn(Path(folder))
