"""What the student was fed: how fresh, how often, how much too little. Rank 0 counts, for the whole role.

Counts are cumulative, as histograms of monitoring systems are: `trained_steps_le_10` are the rows that were at most
ten steps old. The difference of two lines of metrics is the histogram of the time between them.
"""

from collections import Counter
from dataclasses import dataclass, field

from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import Plan

STEPS = (0, 10, 30, 100, 300, 1000, 3000)
RHO = (0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass
class LabelUsage:
    """Rows of the plans that were trained on since this process started."""

    staleness: Staleness
    reused: int = 0
    missing: int = 0
    by_lag: Counter[int] = field(default_factory=Counter)
    """Rows by how many student steps their teacher was behind."""

    def take(self, plan: Plan) -> None:
        """Count what one step is given."""
        self.missing += plan.short_rows * len(plan.ranks)
        for part in plan.ranges():
            self.by_lag[self.staleness.lag_steps(plan.now_step, part.teacher_step)] += len(part)
            self.reused += len(part) if part.use > 1 else 0

    def numbers(self) -> dict[str, float]:
        """For the metrics; the histograms once there is something to show."""
        found = {"queue/reused": float(self.reused), "queue/missing": float(self.missing)}
        if self.by_lag:
            rows, rho = self.by_lag.items(), self.staleness.rho
            for edge in STEPS:
                found[f"queue/trained_steps_le_{edge}"] = float(sum(n for lag, n in rows if lag <= edge))
            for share in RHO:
                total = sum(n for lag, n in rows if rho(lag, 0) <= share + 1e-12)
                found[f"queue/trained_rho_le_{share:g}"] = float(total)
            found["queue/trained"] = float(self.by_lag.total())
            found["queue/trained_steps_most"] = float(max(self.by_lag))
        return found
