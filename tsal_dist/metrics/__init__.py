"""How good a detector is, in numbers that people compare.

`normalizer` says what a landmark error is divided by, and its name belongs to every number. `face_errors` holds
what a test set adds up to; every field is a sum, so ranks, videos and categories merge by adding. `jitter` is
what a still picture cannot show. `gauge` watches predictions on unlabelled frames for collapse, and `gate`
decides from held-out errors whether a teacher may teach. Plain numpy: a report needs no accelerator.
"""
