"""Using a trained detector: `trained` loads it, `evaluation` measures it, `kept_frames` does so on the same few frames
again and again. `session` opens it for footage: a `detector` looks through `finder`, `looking` searches with it,
`prediction` follows a subject, `decoding` says how it is asked and `finding` asks it, `overlay` and `table` write down what it found.
`together` divides footage among processes, or among tasks (`on_ray`), that keep what they find in `kept_rows`; `fates` says what
became of it. `export` and `export_whole` give it away; `whole_file` opens what the latter wrote, and nothing on that path needs torch.
"""
