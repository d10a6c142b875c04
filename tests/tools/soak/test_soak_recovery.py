"""Recovery is timed from the injury until the next life of all that were hurt is at work."""

from types import SimpleNamespace

from tools.soak.recovery import RecoveryTimes


def role(name):
    found = SimpleNamespace(name=name, lives=1, at_work=True)
    found.ready = lambda: found.at_work
    return found


def test_a_next_life_has_to_be_at_work():
    now, student, teacher = [0.0], role("student"), role("teacher")
    times = RecoveryTimes(lambda: now[0])
    times.begin("kill a student", [student, teacher])
    times.begin("stall the teacher", [student, teacher])
    now[0] = 1.0
    times.look()
    assert times.seconds["student"] == [], "its first life still looks alive"
    student.lives, student.at_work = 2, False
    now[0] = 4.0
    times.look()
    assert times.seconds["student"] == []
    student.at_work = True
    now[0] = 7.5
    times.look()
    now[0] = 9.0
    times.look()
    assert times.seconds == {"student": [7.5], "teacher": [], "machine": []}


def test_a_machine_is_back_when_both_roles_are():
    now, roles = [0.0], [role("student"), role("teacher")]
    times = RecoveryTimes(lambda: now[0])
    for seconds in (10.0, 30.0, 20.0):
        start = now[0]
        times.begin("kill both roles", roles)
        for one in roles:
            one.lives += 1
            now[0] = start + (seconds if one is roles[1] else 1.0)
            times.look()
    assert times.seconds["machine"] == [10.0, 30.0, 20.0]
    assert times.lines() == [
        "student: none was killed",
        "teacher: none was killed",
        "machine: median 20.0 s, worst 30.0 s of 3",
    ]
    assert times.numbers() == {"machine": {"median_s": 20.0, "worst_s": 30.0, "times": 3}}
