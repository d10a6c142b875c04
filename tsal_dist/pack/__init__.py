"""Videos and images in, a folder of shards out.

Readers (`points`, `lists`, `formats`, `layouts`) turn what people have into entries: a path, a frame, a face.
`inputs` groups entries by file and `video_facts` looks into every file once. `packing_plan` lays the frames out over shards,
keeps the labels of the chosen share and names the whole by a fingerprint. `execute` runs the plan, each shard
in one process by `write`, committed in an order that a kill cannot break, and closes the folder with its
manifest; `on_ray` has a cluster run it. `lint`, `foreign`, `compare` and `preview` look at finished folders.

The same plan gives the same bytes, whoever runs it and however often it was interrupted.
"""
