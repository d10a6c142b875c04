"""What would help a run further, in a sentence."""

import pytest

from tsal_dist.insight.to_gain import say_what_helps


def line(learnt, held_out, **more):
    return {"step": 400, "validation/learnt_nme": learnt, "validation/nme": held_out, **more}


@pytest.mark.parametrize(
    ("learnt", "held_out", "words"),
    [
        (0.046, 0.053, "The two are alike"),
        (0.006, 0.032, "It knows its labels"),
        (0.06, 0.1, "and so may a longer training"),
    ],
)
def test_it_goes_by_both_errors(learnt, held_out, words):
    told = say_what_helps([line(0.5, 0.5), line(learnt, held_out), {"step": 410, "loss/total": 1.0}])
    assert words in told
    assert told.startswith(f"At step 400 the student was {100 * learnt:.1f} % off on labels that it learns")


def test_it_says_what_pseudo_labels_counted():
    assert say_what_helps([line(0.1, 0.2, **{"unlabelled/headroom": 0.5})]).endswith(
        "counted 50 % at the end."
    )


def test_without_held_out_frames_nothing_is_said():
    assert say_what_helps([{"step": 1, "loss/total": 1.0}]) == ""
