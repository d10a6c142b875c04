"""What unlabelled video is worth: every method beside labels alone, at several amounts of labels, on several data.

`python -m tools.bench.accuracy`. A data set says which shards and settings, a cell is one training of one method on
one amount of labels, a row is what the cells of one method have in common, and the page is the table of all rows.
"""
