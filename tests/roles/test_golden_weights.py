"""Twelve steps of every method as they were once: a change of structure must not change what is learnt.

The weights of `tests/golden/twelve_steps.json` are told by a few sums, within what two kinds of processor may differ
by. A change that is meant to change them writes the file anew and says so in its commit:
`python -m tests.roles.test_golden_weights`.
"""

import json
import math
import tempfile
from pathlib import Path

import pytest

from tests.roles.short_runs import pack_faces, student_of, train

GOLDEN = Path(__file__).parents[1] / "golden" / "twelve_steps.json"
RECIPES = ("supervised", "mean_teacher", "tsal")


def told(weights) -> dict[str, list[float]]:
    """Per tensor: its sum and its length, which a change of any number moves."""
    return {
        name: [float(value.double().sum()), math.sqrt(float(value.double().square().sum()))]
        for name, value in weights.items()
        if value.is_floating_point()
    }


def twelve_steps(faces, folder, recipe):
    """Learnt from clips of which no frame is labelled in this run: a truth would come before what a teacher says."""
    others = (f"data.unlabelled={faces.held_out}", "data.validation=", "train.steps=12")
    return told(student_of(train(faces, folder, f"method.name={recipe}", *others)))


@pytest.mark.ranks
@pytest.mark.parametrize("recipe", RECIPES)
def test_twelve_steps_give_the_weights_of_before(faces, tmp_path, recipe):
    golden = json.loads(GOLDEN.read_text())[recipe]
    found = twelve_steps(faces, tmp_path / "run", recipe)
    assert found.keys() == golden.keys()
    for name, (total, length) in found.items():
        # A sum may cancel; how far it may be off goes by the tensor's length.
        assert total == pytest.approx(golden[name][0], abs=2e-3 * (1 + golden[name][1])), name
        assert length == pytest.approx(golden[name][1], rel=1e-3, abs=1e-4), name


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = pack_faces(Path(folder))
        pages = {recipe: twelve_steps(made, Path(folder) / recipe, recipe) for recipe in RECIPES}
    GOLDEN.write_text(json.dumps(pages, indent=0) + "\n")
