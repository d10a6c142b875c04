"""What a run shows of itself, read from its files by whoever comes along.

`status` and `bottleneck` say how it is and what holds it up; `report` is the page, made of `curves`, `gallery`,
`provenance` and drawn by `page` and `charts`; `plots` draws what `evaluate --plots` writes; `audit` closes the books.
"""
