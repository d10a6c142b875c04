"""Log records whose checksum is right and whose numbers are not: rows may be lost to them, never invented."""

import pytest

from tests.fuzz.queue_files import ROWS, SEGMENT, hostile_record

HUGE = 2**63 - 1


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"rows": 0}, ROWS - 2 * SEGMENT),
        ({"rows": 2**32 - 1}, SEGMENT),
        ({"first_row": 0}, SEGMENT),
        ({"first_row": HUGE}, 0),
        ({"size": 0}, ROWS - SEGMENT),
        ({"size": HUGE}, ROWS - SEGMENT),
        ({"digest": 0}, ROWS - SEGMENT),
        ({"step": -1}, 0),
        ({"step": HUGE}, 0),
        ({"schema": 0}, 0),
    ],
    ids=str,
)
def test_a_record_that_lies_costs_rows_at_most(changes, least):
    assert len(hostile_record(changes)) >= least
