"""Every crew of teachers walks through all clips in an order of its own, and the first one as it always did."""

from tests.roles.short_runs import short_config


def test_crews_label_the_same_clips_in_orders_of_their_own(faces, tmp_path):
    import torch

    from tsal_dist.runs.build_streams import TEACHER_CLIPS, RoleRank, clip_stream, training_view
    from tsal_dist.runs.open_data import open_data

    config = short_config(faces, tmp_path)
    clips = open_data(config).unlabelled

    def epoch(crew):
        rank = RoleRank(0, 1, torch.device("cpu"), crew)
        with clip_stream(config, clips, training_view(config, None), rank, TEACHER_CLIPS, 1) as stream:
            state = stream.state_dict()
            return state["seed"], [next(stream)[0].sample_id for _ in range(stream.samples)]

    first, night, again, other = (epoch(crew) for crew in ("", "night", "night", "b2"))
    assert first[0] == config.train.seed * 16 + TEACHER_CLIPS, "as in runs of before"
    assert night == again
    orders = [first[1], night[1], other[1]]
    assert all(sorted(order) == sorted(first[1]) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
