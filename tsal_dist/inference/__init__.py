"""Using a trained detector: `trained` loads it, `evaluation` measures it, `prediction` finds landmarks on footage,
`decoding` and `views` say how it is asked, `overlay` and `table` write them down, `export` gives the detector away.
"""
