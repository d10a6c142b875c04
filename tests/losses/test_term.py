import torch

from tsal_dist.losses.term import Term


def test_an_empty_batch_is_zero_and_not_a_division():
    total = torch.zeros((), requires_grad=True)
    mean = Term(total * 1, torch.tensor(0.0)).mean()
    mean.backward()
    assert mean == 0
    assert total.grad.isfinite()


def test_processes_with_uneven_shares_make_the_whole():
    """What DDP's average of the processes' losses must equal."""
    parts = [Term(torch.tensor(6.0), torch.tensor(1.0)), Term(torch.tensor(2.0), torch.tensor(3.0))]
    count = sum(part.count for part in parts)
    averaged = sum(part.mean(count, share=2) for part in parts) / 2
    assert averaged == (6 + 2) / 4
