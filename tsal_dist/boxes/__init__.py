"""A net that finds subjects of any kind, learnt in minutes from the labels that the landmarks are learnt from.

`labelled` lists the frames that a table speaks of and reads them, each with the boxes around its labelled points. `views`
draws them anew for each step, `learning` takes the steps, and `judging` says how many subjects of other videos are found
and from which score on. `making` is the whole way from labels to a file. The file, and the net in it, are
`models.box_net`'s: who packs or predicts needs nothing of this room.
"""
