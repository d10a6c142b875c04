"""What a soak has found: every promise that was broken, in words."""

from pathlib import Path
from typing import Any

from tools.soak.injuries import FaultInjector
from tools.soak.process_growth import ProcessGrowth
from tools.soak.run_under_test import RunUnderTest
from tsal_dist.errors import TsalError
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.json_object import if_finite
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.pseudo.survey import lint_topic
from tsal_dist.pseudo.topic import inspect_topic, quarantine_name
from tsal_dist.run_dir import RunDir


def find_violations(
    run: RunUnderTest, injector: FaultInjector, growth: ProcessGrowth
) -> tuple[list[str], dict[str, Any]]:
    """Everything that must not be, and the numbers of the books."""
    from tsal_dist.insight.audit import audit_run

    found = [surprise for role in run.roles for surprise in role.surprises]
    found += injector.broken
    found += [f"the {role.name} did not finish" for role in run.roles if not role.finished]
    found += [growth.fault for growth in growth.growths() if growth.fault]
    found += check_metrics(run.run_dir)
    try:
        audit = audit_run(run.run_dir)
    except TsalError as error:
        return [*found, f"the books cannot be closed: {error}"], {}
    found += audit.violations
    found += check_damage(run.run_dir.queue("labels"), injector.damaged, audit.segments)
    books = {
        "steps": audit.steps,
        "rows": audit.rows,
        "row_uses": audit.uses,
        "oldest_steps": audit.oldest_steps,
        "bound_steps": if_finite(audit.bound_steps),
    }
    return found, books


def check_damage(
    queue: Path, damaged: dict[tuple[str, int], str], trained: frozenset[tuple[str, int]]
) -> list[str]:
    """Every damaged segment is set aside with its reason, or was dropped unread and is found by lint; none taught."""
    store = PosixStore(queue)
    linted = {finding.place for finding in lint_topic(inspect_topic(store))}
    found = []
    for (producer, seq), how in damaged.items():
        where = f"segment {seq} of {producer} ({how})"
        if (producer, seq) in trained:
            found.append(f"{where} was trained on")
        note = queue / quarantine_name(producer, seq).replace(".parquet", ".json")
        if not note.exists() and f"{producer} segment {seq}" not in linted:
            found.append(f"{where} was reported by nobody")
    return found


def check_metrics(run_dir: RunDir) -> list[str]:
    """The student's last word on every number of learning is finite."""
    last: dict[str, Any] = {}
    for line in read_metrics(run_dir.metrics("student")):
        last |= line
    learnt = {name: value for name, value in last.items() if name.startswith(("loss/", "validation/"))}
    if not learnt:
        return ["the student wrote down nothing of what it learnt"]
    return [f"{name} is not finite in the end" for name, value in learnt.items() if value is None]
