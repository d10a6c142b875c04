"""Using a trained detector: `trained` loads it, `evaluation` measures it, `kept_frames` does so on the same few frames
again and again, `prediction` finds landmarks on footage, `decoding` and `views` say how it is asked, `overlay` and
`table` write them down, `export` gives the detector away.
"""
