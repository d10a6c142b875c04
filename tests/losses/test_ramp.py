import pytest

from tsal_dist.losses.ramp import ramp


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.0),
        (1, 0.0080),
        (10, 0.031),
        (30, 0.287),
        (45, 0.732),
        (60, 1),
        (85, 1),
        (110, 1),
        (120, 0.458),
        (130, 0.044),
    ]
    + [(140, 8.8e-4), (150, 0.0)],
)
def test_values_of_the_papers_schedule(epoch, expected):
    assert ramp(epoch, up_steps=60, down_steps=40, total_steps=150) == pytest.approx(
        expected, rel=0.02, abs=1e-5
    )


def test_without_ramps_everything_counts_from_the_first_step():
    assert [ramp(step, 0, 0, 10) for step in (0, 5, 10)] == [1, 1, 1]


def test_outside_the_run_nothing_counts():
    assert ramp(-1, 0, 0, 10) == 0
    assert ramp(11, 0, 0, 10) == 0
