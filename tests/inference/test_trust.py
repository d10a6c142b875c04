"""What was measured of a detector holds on footage that it was not measured on: errors, and whether there is a subject."""

import numpy as np
import pytest
import torch

from tests.inference.squares import SIDE_PX, FlagDetector, draw_flag, finder_of, pack_flags
from tsal_dist.errors import CheckpointError, ConfigError, DataError
from tsal_dist.inference.crowd import Seeker, follow_all
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.pictures import Picture
from tsal_dist.inference.prediction import follow
from tsal_dist.inference.presence import FALSE_ALARMS, Belief, Presence, destroy, learn
from tsal_dist.inference.trust import load_trust, measure_trust, save_trust

OFF_PX, SIDE = 3, 48


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    return pack_flags(tmp_path_factory.mktemp("flags"), SIDE, OFF_PX)


@pytest.fixture(scope="module")
def finder():
    return finder_of(FlagDetector())


@pytest.fixture(scope="module")
def trust(finder, flags):
    return measure_trust(finder, flags, 64)


def film(middles):
    return [Picture("film", t, 40.0 * t, draw_flag(middle, SIDE)) for t, middle in enumerate(middles)]


def found_in(finder, trust, pictures):
    return [one for _, one in follow(finder, iter(pictures), trust=trust)]


def test_the_expected_error_is_in_pixels_of_the_picture(finder, trust):
    """The labels say that the detector is off by so much, at whatever size its crops are."""
    for side in (SIDE, 2 * SIDE):
        picture = Picture("one", None, 0.0, draw_flag((80, 80), side))
        (one,) = found_in(finder, trust, [picture])
        assert one.found
        np.testing.assert_allclose(one.expected_px_K, OFF_PX * side / SIDE, rtol=0.35)


def empty_pictures():
    """Black, single pixels and blocks of the flag's own colours, and parts of flags."""
    random = np.random.default_rng(4)
    yield np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    for block in (1, 4, 16):
        for _ in range(5):
            colours = random.integers(0, 2, (SIDE_PX // block, SIDE_PX // block, 3)) * 255
            yield np.kron(colours, np.ones((block, block, 1))).astype(np.uint8)
    for half in (draw_flag((70, 80), SIDE), draw_flag((100, 60), SIDE)):
        half[:, : 75 if half[80, 60].any() else 100] = 0
        yield half


def test_pictures_without_a_subject_are_said_to_hold_none(finder, trust):
    pictures = [Picture(f"{number}", None, 0.0, image) for number, image in enumerate(empty_pictures())]
    found = [one.found for one in found_in(finder, trust, pictures)]
    assert sum(found) <= 1, found
    with_one = [Picture(f"{x}", None, 0.0, draw_flag((x, 70), SIDE)) for x in range(50, 110, 6)]
    assert all(one.found for one in found_in(finder, trust, with_one))


def test_subjects_are_found_where_boxes_were_whole_pictures(tmp_path):
    """As `pack --labels` makes them: what is followed, and what is destroyed, is the subject and not the picture."""
    shards = pack_flags(tmp_path, SIDE, OFF_PX, box="full")
    beyond = (SIDE_PX / SIDE - 1) / 2
    finder = finder_of(FlagDetector(), "data.box_expand=0", f"data.beyond_points={beyond}")
    trust = measure_trust(finder, shards, 64)
    false_alarms, overlooked = trust.presence.rates_2
    assert false_alarms <= FALSE_ALARMS
    assert overlooked <= 0.1
    found = found_in(finder, trust, film([(50 + 3 * t, 70) for t in range(15)]))
    assert all(one.found for one in found)
    for t, one in enumerate(found[2:], 2):
        np.testing.assert_allclose(one.points_K2.mean(0), (50 + 3 * t - 0.5, 69.5), atol=4)
    assert sum(one.found for one in found_in(finder, trust, film([None] * 15))) == 0


@pytest.mark.parametrize("stays", range(12, 17))
def test_a_subject_that_was_sure_is_missed_in_the_very_frame_that_it_leaves(finder, trust, stays):
    """Whichever frame that is, also between two in which it would have been judged anyway."""
    found = [
        one.found for one in found_in(finder, trust, film([(60 + t, 70) for t in range(stays)] + [None] * 6))
    ]
    assert found == [True] * stays + [False] * 6


def test_a_subject_that_leaves_is_said_to_be_gone_and_found_when_it_returns(finder, trust):
    middles = [(60 + t, 70) for t in range(8)] + [None] * 6 + [(110, 60)] * 10
    found = [one.found for one in found_in(finder, trust, film(middles))]
    assert all(found[:8])
    assert not any(found[9:14]), "one frame may pass before it is noticed"
    assert all(found[-4:])


def test_trust_comes_back_from_its_file(trust, tmp_path):
    path = tmp_path / "new" / "t.safetensors"
    save_trust(trust, path)
    again = load_trust(path)
    assert all(torch.equal(tensor, again.to_tensors()[name]) for name, tensor in trust.to_tensors().items())
    assert load_trust(tmp_path / "none") is None
    path.write_bytes(b"half")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_trust(path)


def evidence(middle, count, seed):
    return np.random.default_rng(seed).normal(middle, 1.0, (count, 3))


def test_few_destroyed_frames_pass_and_few_whole_ones_do_not():
    presence = learn(evidence(2.0, 60, 0), evidence(-2.0, 120, 1))
    passed = [presence.log_odds(one) > 0 for one in evidence(-2.0, 500, 2)]
    missed = [presence.log_odds(one) <= 0 for one in evidence(2.0, 500, 3)]
    assert np.mean(passed) < 0.05
    assert np.mean(missed) < 0.05


def test_where_nothing_tells_the_two_apart_few_pass_all_the_same():
    """Said to be absent though it is there: a pity, but no lie."""
    presence = learn(evidence(0.0, 60, 0), evidence(0.0, 120, 1))
    assert np.mean([presence.log_odds(one) > 0 for one in evidence(0.0, 500, 2)]) < 3 * FALSE_ALARMS
    assert presence.rates_2[0] <= FALSE_ALARMS
    assert presence.rates_2[1] > 0.5


@pytest.fixture(scope="module")
def of_one_frame(finder, tmp_path_factory):
    """What a single held-out frame tells, as `tsal pack` leaves it where labels are few."""
    return measure_trust(finder, pack_flags(tmp_path_factory.mktemp("one"), SIDE, OFF_PX, count=1), 64)


def test_a_single_frame_tells_how_far_off_points_are_and_no_subject_from_none(finder, of_one_frame):
    assert of_one_frame.presence is None
    pictures = [Picture("one", None, 0.0, draw_flag((80, 80), SIDE))]
    (one,) = found_in(finder, of_one_frame, pictures)
    np.testing.assert_allclose(one.expected_px_K, OFF_PX, rtol=0.35)
    (blind,) = found_in(finder, None, pictures)
    assert (one.found, np.isnan(one.presence)) == (blind.found, True), "as where nothing was measured"


def test_a_single_frame_is_enough_to_follow_all_who_are_found(finder, of_one_frame):
    seeker = Seeker(lambda image: [np.array([56.0, 56, 104, 104])], every=1, detects=True)
    pictures = [Picture("two", t, 40.0 * t, draw_flag((80, 80), SIDE)) for t in range(3)]
    for _, rows in follow_all(finder, iter(pictures), seeker, of_one_frame):
        assert [row.subject for row in rows] == [1]
        assert np.isfinite(rows[0].expected_px_K).all()
        assert np.isnan(rows[0].presence)


def test_a_single_frame_does_not_find_all_subjects(finder, of_one_frame):
    detector = Detector(finder, of_one_frame, "made")
    with pytest.raises(ConfigError, match="--subjects many: nothing tells a subject from none"):
        detector.predict("0", subjects="many")


def test_what_a_single_frame_tells_comes_back_from_its_file(of_one_frame, tmp_path):
    save_trust(of_one_frame, tmp_path / "t.safetensors")
    again = load_trust(tmp_path / "t.safetensors")
    assert again.presence is None
    assert torch.equal(again.calibration.expected_KG, of_one_frame.calibration.expected_KG)


def test_too_few_frames_to_learn_from_are_named():
    with pytest.raises(DataError, match="at least two labelled frames"):
        learn(evidence(0, 1, 0), evidence(0, 2, 0))


def test_a_presence_without_a_part_is_refused():
    arrays = learn(evidence(1, 9, 0), evidence(-1, 9, 0)).to_arrays()
    del arrays["offset"]
    with pytest.raises(CheckpointError, match="lacks offset"):
        Presence.from_arrays(arrays)


@pytest.mark.parametrize("cuts", [3, 5])
def test_no_tile_of_a_destroyed_subject_stays(cuts):
    image_HWC = np.random.default_rng(1).integers(0, 256, (120, 150, 3)).astype(np.uint8)
    box_4 = np.array([40.0, 30, 100, 90])
    torn_HWC = destroy(image_HWC, box_4, cuts, np.random.default_rng(0))
    side = 60 // cuts
    inside = [(y, x) for y in range(30, 90, side) for x in range(40, 100, side)]
    same = [
        (torn_HWC[y : y + side, x : x + side] == image_HWC[y : y + side, x : x + side]).mean() > 0.5
        for y, x in inside
    ]
    assert len(same) == cuts**2
    assert not any(same)


def test_evidence_of_frames_adds_up_and_the_past_can_be_overcome():
    belief = Belief()
    first = belief.observe(1.0)
    second = belief.observe(1.0)
    assert 0.5 < first < second
    for _ in range(100):
        belief.observe(50.0)
    gone = [belief.observe(-4.0) for _ in range(3)]
    assert gone[-1] < 0.1
