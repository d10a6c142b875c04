"""A line of the plan log that a disk, an editor or a stranger has changed is refused, not trained by."""

import json

import pytest

from tsal_dist.errors import DataError
from tsal_dist.pseudo.step_plan import load_plans


@pytest.mark.parametrize(
    "part",
    [
        ["t", 0, 0, None, 1, 1, 9, 9],
        ["t", 0, 5, 4, 1, 1, 9, 9],
        ["t", 0, -1, 4, 1, 1, 9, 9],
        ["t", 0, 0, 4, 1, None, 9, 9],
        ["t", "0", 0, 4, 1, 1, 9, 9],
        [5, 0, 0, 4, 1, 1, 9, 9],
        ["t", 0, 0, 4],
        5,
    ],
    ids=str,
)
def test_a_line_that_is_no_plan_is_refused_with_its_number(tmp_path, part):
    line = {"step": 1, "now_step": 1, "ranks": [[part]], "short_rows": 0, "reasons": {}}
    (tmp_path / "plan.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError, match=r"plan\.jsonl, line 1, is no plan"):
        load_plans(tmp_path / "plan.jsonl")
