"""Our stream feeds a webdataset pipeline."""

from itertools import islice

import webdataset as wds

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import open_shards
from tsal_dist.data.stream import ClipStream
from tsal_dist.data.webdataset_source import as_webdataset


def stream(shards_url, select, epochs):
    return ClipStream(
        open_shards([shards_url]),
        ViewSettings(crop_px=16),
        select=select,
        batch=4,
        rank=0,
        world=1,
        seed=0,
        epochs=epochs,
        read_ahead=ReadAhead(workers=0),
    )


def test_our_stream_is_a_webdataset_source(shards_url):
    source = as_webdataset(stream(shards_url, "labelled", epochs=1))
    pipeline = wds.DataPipeline(source, wds.to_tuple("__key__", "jpg", "json"), wds.batched(4))
    batches = list(pipeline)
    assert sum(len(batch[0]) for batch in batches) == 11
    assert batches[0][1].shape == (4, 16, 16, 3)
    assert "video0-00000004" in {key for batch in batches for key in batch[0]}
    assert batches[0][2][0]["points"].shape == (1, 68, 2)


def test_an_endless_source_ends_with_the_pipelines_epoch(shards_url):
    pipeline = wds.DataPipeline(as_webdataset(stream(shards_url, "all", epochs=None))).with_epoch(50)
    assert len(list(islice(pipeline, 100))) == 50
