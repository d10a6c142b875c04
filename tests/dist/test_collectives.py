"""Small facts arrive whole, on every rank, in rank order; a missing rank is named."""

import pytest

from tests.ranks import run_ranks
from tsal_dist.dist import collectives

pytestmark = pytest.mark.ranks


def share(rank, world):
    import torch

    found = {}
    found["sum"] = collectives.sum_tensors(
        {"n": torch.tensor(rank + 1), "row": torch.tensor([0.5, 1.0 * rank])}
    )
    numbers = {"a": 0.1 * (rank + 1), f"only_{rank}": 1.0}
    found["mean"] = collectives.reduce_scalars(numbers)
    found["max"] = collectives.reduce_scalars(numbers, "max")
    found["total"] = collectives.reduce_scalars(numbers, "sum")
    found["small"] = collectives.broadcast_json({"stop": False, "rows": [1, 2]} if rank == 0 else None)
    found["large"] = collectives.broadcast_json("x" * 50_000 + "é" if rank == 0 else None)
    found["edge"] = [collectives.broadcast_json("y" * size) for size in (4093, 4094, 4095)]
    found["json"] = collectives.gather_json({"rank": rank, "long": "z" * 10 * rank})
    found["rows"] = collectives.gather_rows(torch.full((2 * rank, 3), rank))
    found["none"] = collectives.gather_rows(torch.empty(0, 2))
    mixed = {
        "flag": torch.tensor([True, False, True]),
        "half": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "count": torch.tensor(2**40),
        "empty": torch.empty(0, 4),
    }
    found["tensors"] = collectives.broadcast_tensors(mixed if rank == 0 else {})
    found["no_tensors"] = collectives.broadcast_tensors({})
    return found


def test_everything_that_ranks_share():
    first, second = run_ranks(share)
    for found in (first, second):
        assert found["sum"]["n"].item() == 3
        assert found["sum"]["n"].dtype == first["sum"]["n"].dtype
        assert found["sum"]["row"].tolist() == [1.0, 1.0]
        assert found["mean"] == {"a": (0.1 + 0.2) / 2, "only_0": 1.0, "only_1": 1.0}
        assert found["max"]["a"] == 0.2
        assert found["total"]["a"] == 0.1 + 0.2
        assert found["small"] == {"stop": False, "rows": [1, 2]}
        assert found["large"] == "x" * 50_000 + "é"
        assert [len(text) for text in found["edge"]] == [4093, 4094, 4095]
        assert [row["rank"] for row in found["json"]] == [0, 1]
        assert found["rows"].tolist() == [[1, 1, 1], [1, 1, 1]]
        assert found["none"].shape == (0, 2)
        assert found["no_tensors"] == {}
        tensors = found["tensors"]
        assert tensors["flag"].tolist() == [True, False, True]
        assert (str(tensors["half"].dtype), tensors["half"].tolist()) == ("torch.bfloat16", [[1.5, -2.0]])
        assert tensors["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
        assert tensors["count"].item() == 2**40
        assert tensors["empty"].shape == (0, 4)


def test_a_world_of_one_needs_no_group():
    import torch

    rows = torch.ones(2, 2)
    assert collectives.gather_rows(rows) is rows
    assert collectives.broadcast_json({"a": 1}) == {"a": 1}
    assert collectives.gather_json(3) == [3]
    assert collectives.reduce_scalars({"a": 2.0}) == {"a": 2.0}
    assert collectives.sum_tensors({"a": torch.tensor(2)})["a"] == 2
    assert collectives.broadcast_tensors({"a": rows})["a"] is rows
