import json
import time

from tools.bench.paired_benchmark import compare_in_turns, json_line, settle


def work(seconds, items):
    def side():
        time.sleep(seconds)
        return items

    return side


def test_the_ratio_is_ours_over_the_baseline():
    paired = compare_in_turns("sleep", 1.5, work(0.02, 1), work(0.1, 1), rounds=3)
    assert paired.ratio > 1.5  # 5, were it not for a machine that has other things to do
    assert paired.ratio_low <= paired.ratio <= paired.ratio_high


def test_rounds_are_settled_by_their_median():
    paired = settle("pairs", 1.5, [(2, 1), (9, 1), (300, 200), (16, 10)])
    assert paired.ratio == 1.8
    assert paired.ratio_low < paired.ratio < paired.ratio_high
    assert (paired.ours_per_s, paired.baseline_per_s, paired.rounds) == (12.5, 5.5, 4)
    assert "1.80 x the baseline" in paired.line()
    assert "meets 1.5 (12.5/s against 5.5/s" in paired.line()
    assert "MISSES 1.9" in settle("one", 1.9, [(1800, 1000)]).line()


def test_sides_take_turns_at_going_first():
    calls = []
    compare_in_turns("turns", 1, lambda: calls.append("a") or 1, lambda: calls.append("b") or 1, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_the_json_line_says_what_and_where():
    page = json.loads(json_line([compare_in_turns("x", 1, work(0, 1), work(0, 1), rounds=2)], quick=True))
    assert page["results"][0]["name"] == "x"
    assert page["settings"] == {"quick": True}
    assert page["system"]["cores"] >= 1
    assert page["system"]["commit"]
