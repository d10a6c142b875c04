import json
import time

from tsal_dist.observe.contest import json_line, run_contest


def work(seconds, items):
    def side():
        time.sleep(seconds)
        return items

    return side


def test_the_ratio_is_ours_over_the_baseline():
    contest = run_contest("sleep", 1.5, work(0.01, 1), work(0.02, 1), rounds=3)
    assert 1.5 < contest.ratio < 2.5
    assert contest.ratio_low <= contest.ratio <= contest.ratio_high
    assert "meets 1.5" in contest.line()
    assert "MISSES 1.5" in run_contest("sleep", 1.5, work(0.01, 1), work(0.01, 1), rounds=1).line()


def test_sides_take_turns_at_going_first():
    calls = []
    run_contest("turns", 1, lambda: calls.append("a") or 1, lambda: calls.append("b") or 1, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_the_json_line_says_what_and_where():
    page = json.loads(json_line([run_contest("x", 1, work(0, 1), work(0, 1), rounds=2)], quick=True))
    assert page["results"][0]["name"] == "x"
    assert page["settings"] == {"quick": True}
    assert page["system"]["cores"] >= 1
    assert page["system"]["commit"]
