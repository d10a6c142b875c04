"""The books of a run, closed: whether every label row went where the protocol says, by the files alone.

The surviving lineage is what the student's last checkpoint knows of. In it every step was planned once; a row was used
for the first time before it was used again, and not more often than allowed; no row was older than the bound when it
was trained on; and per producer, what was committed is what was delivered, dropped, set aside or still waits.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.errors import CheckpointError
from tsal_dist.exchange.copy_on_write import CopyOnWriteStore
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.log import Kind, Record, read_log
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import Plan, load_plans
from tsal_dist.pseudo.survey import survey_producers
from tsal_dist.pseudo.topic import Topic, inspect_topic
from tsal_dist.run import load_run
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.build import build_recipe, build_task
from tsal_dist.runs.build_staleness import build_staleness

MOST_NAMED = 5
"""Violations of one kind that are named; the others are counted."""

Row = tuple[str, int, int]
"""Producer, segment, row."""


@dataclass
class Audit:
    """What the books say; `violations` is empty where they close."""

    steps: int = 0
    """Planned steps in the surviving lineage."""
    rows: dict[str, int] = field(default_factory=dict)
    """Of all producers: committed, delivered, trimmed, quarantined, pending."""
    uses: int = 0
    """Row uses that were trained on, repeats included."""
    oldest_steps: int = 0
    """The largest staleness that was trained on."""
    bound_steps: float = 0
    segments: frozenset[tuple[str, int]] = frozenset()
    """Producer and number of every segment of which a row was trained on."""
    violations: list[str] = field(default_factory=list)


def audit_run(run_dir: RunDir) -> Audit:
    """Close the books of a run that nobody is working on. It is only read."""
    config = load_run(run_dir.root).config
    checkpoints = Checkpoints.to_read(run_dir.checkpoints("student"))
    step = checkpoints.latest_committed()
    if step is None:
        raise CheckpointError(
            f"{run_dir.root} has no checkpoint of the student, so there are no books to close."
        )
    state = checkpoints.load(step).state["planner"]
    if state is None:
        raise CheckpointError(
            f"{run_dir.root} was trained without pseudo-labels (method.name={config.method.name}), so there are no books to "
            f"close. Audit a run that has a teacher."
        )
    if "replay_of" in state:
        raise CheckpointError(
            f"{run_dir.root} follows the plans of {state['replay_of']}, and keeps no books of its own. Audit that run."
        )
    staleness = build_staleness(config, build_recipe(config, build_task(config)))
    plans = [plan for plan in load_plans(run_dir.metrics("plan")) if plan.step <= state["step"]]
    audit = Audit(steps=len(plans), bound_steps=staleness.bound_steps)
    first_uses = _check_plans(plans, config, staleness, audit)
    _check_counts(
        inspect_topic(CopyOnWriteStore(PosixStore(run_dir.queue("labels")))),
        state,
        config,
        staleness,
        first_uses,
        audit,
    )
    return audit


def _check_plans(plans: list[Plan], config: RunConfig, staleness: Staleness, audit: Audit) -> Counter[str]:
    """Every rule that the plan log can show; rows that were used at all, by producer."""
    told = [plan.step for plan in plans]
    if told and told != list(range(told[0], told[0] + len(told))):
        audit.violations.append(
            f"the plans of steps {told[0]} to {told[-1]} are {len(told)}: a step is missing"
        )
    if told and told[0] > config.train.burn_in_steps:
        audit.violations.append(
            f"the first plan is of step {told[0]}, after burn-in ({config.train.burn_in_steps})"
        )
    uses: Counter[Row] = Counter()
    late, out_of_turn = [], []
    for plan in plans:
        for part in plan.ranges():
            lag_steps = plan.now_step - part.teacher_step
            audit.oldest_steps = max(audit.oldest_steps, lag_steps)
            if not staleness.admits(plan.now_step, part.teacher_step):
                late.append(
                    f"step {plan.step} trained on labels {lag_steps} steps old (bound {audit.bound_steps:g})"
                )
            for row in range(part.start, part.stop):
                uses[part.producer, part.seq, row] += 1
                if uses[part.producer, part.seq, row] != part.use:
                    out_of_turn.append(
                        f"step {plan.step}: row {row} of {part.producer} segment {part.seq} is use "
                        f"{uses[part.producer, part.seq, row]} and was planned as use {part.use}"
                    )
    queue = config.runtime.queue
    most = queue.max_reuse if queue.on_starvation == "reuse" else 1
    often = [
        f"row {row} of {name} segment {seq} was trained on {n} times"
        for (name, seq, row), n in uses.items()
        if n > most
    ]
    for found in (late, out_of_turn, often):
        audit.violations += _few(found)
    audit.uses = uses.total()
    audit.segments = frozenset((name, seq) for name, seq, _ in uses)
    return Counter(name for name, _, _ in uses)


def _check_counts(
    topic: Topic,
    state: dict[str, Any],
    config: RunConfig,
    staleness: Staleness,
    first_uses: Counter[str],
    audit: Audit,
) -> None:
    """Conservation, with a planner that takes up the checkpoint and reads the logs to their ends. What it writes and
    sets aside on the way is for itself alone."""
    planner = Planner(topic, "audit", staleness, max_reuse=config.runtime.queue.max_reuse)
    try:
        planner.load_state_dict(state)
        planner.tick()
        counts = planner.counts()
    finally:
        planner.close()
    fences = {name: feed.fence for name, feed in planner.intake.feeds.items()}
    logged = {
        one.name: one.rows - (0 if one.fault else _rows_beyond(topic, one.name, fences.get(one.name)))
        for one in survey_producers(topic)
    }
    lost = {name: feed.quarantined.get("log record lost", 0) for name, feed in planner.intake.feeds.items()}
    for name in sorted({*logged, *counts}):
        count = dict(counts.get(name, {}))
        committed = count.pop("committed", 0)
        if committed - lost.get(name, 0) != logged.get(name, 0):
            audit.violations.append(
                f"{name} logged {logged.get(name, 0)} rows, the student knows of {committed}"
            )
        if sum(count.values()) != committed or min(count.values(), default=0) < 0:
            audit.violations.append(f"{name} committed {committed} rows, which went to {count}")
        if count.get("delivered", 0) != first_uses[name]:
            audit.violations.append(
                f"{name}: {count.get('delivered', 0)} rows were delivered and {first_uses[name]} trained on"
            )
    kinds = ("committed", "delivered", "trimmed", "quarantined", "pending")
    audit.rows = {kind: sum(count[kind] for count in counts.values()) for kind in kinds}


def _rows_beyond(topic: Topic, name: str, fence: int | None) -> int:
    """What a producer logged after its successor was seen: nobody reads it, so it is in no book."""
    if fence is None:
        return 0
    records = (record for record in read_log(topic.store, name) if isinstance(record, Record))
    return sum(record.rows for record in records if record.kind is Kind.DATA and record.seq >= fence)


def _few(found: Iterable[str]) -> list[str]:
    texts = list(found)
    more = [f"... and {len(texts) - MOST_NAMED} more of this kind"] if len(texts) > MOST_NAMED else []
    return texts[:MOST_NAMED] + more
