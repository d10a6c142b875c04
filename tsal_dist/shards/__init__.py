"""The shard format, for whoever writes, reads or inspects it.

A folder of shards is one split of one data set. A shard X is four files: X.tar holds the frames as an ordinary
WebDataset tar (`ustar`, keys from `names`), X.idx tells where each frame lies (`index`), X.parquet has one row
per frame, the failed ones included (`frames`), and X.json is written last: a shard without it does not exist.
manifest.json closes the folder: it names every shard, its digests and which frames belong together
(`manifest`). `files` is the one place that knows whether a folder is a path or a URL.

A reader opens the manifest, loads an index and a frame table per shard, and then needs one `pread` per clip
and no JSON. The contract, byte by byte, is shards/README.md at the top of the repository.
"""
