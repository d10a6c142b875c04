"""Using a trained detector: `trained` loads it, `evaluation` measures it, `prediction` finds landmarks on footage,
`overlay` and `table` write them down, `export` gives the detector away.
"""
