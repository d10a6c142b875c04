"""The readiness gate: a teacher that is worse than its student must not teach it."""

import math
from dataclasses import dataclass


@dataclass
class ReadinessGate:
    """Compares errors of the two on the same held-out labelled frames (training labels where none are held out).

    Open where teacher <= student * (1 + slack). It starts closed, and it closes again whenever the teacher falls
    behind: labels made by an older, better version stay out as well, since what counts is what is taught now.
    """

    slack: float = 0.02
    teacher_nme: float = math.inf
    student_nme: float = math.inf

    def observe_teacher(self, nme: float) -> None:
        self.teacher_nme = nme

    def observe_student(self, nme: float) -> None:
        self.student_nme = nme

    @property
    def is_open(self) -> bool:
        """An error that was never measured, or is not a number, keeps the gate closed."""
        return math.isfinite(self.teacher_nme) and self.teacher_nme <= self.student_nme * (1 + self.slack)

    def state_dict(self) -> dict[str, float]:
        return {"teacher_nme": self.teacher_nme, "student_nme": self.student_nme}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.teacher_nme, self.student_nme = state["teacher_nme"], state["student_nme"]
