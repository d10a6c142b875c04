"""What is minimised. Every function states its formula.

A loss is a `Term`: a sum and a count, both over this process's share of the batch. The loop adds up counts over
the role's processes and divides by the result, so that one process and many take the same step. `supervised`
needs labels; `structure` needs a clip; `consistency` is what teacher and student learn from unlabelled frames;
`tracking` trains a flow network without labels; `boxes`, apart from them all, a net that finds subjects; `ramp` says how
much the unlabelled part counts at a step.

Scale: heatmap terms are sums over points and cells per frame, and coordinate errors are in sigmas, so that a
labelled frame and an unlabelled one weigh about the same at the same weight.
"""
