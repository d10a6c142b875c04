"""The two roles, and how they meet: what a rank of each does from its first step to its last.

`student` and `teacher` are one rank each: what a step and a version do. `student_loop` and `teacher_loop` are their
lives, `student_upkeep` what a student does beside learning, `peers` what either knows of the other. `inline` takes turns
between the two in one process, `lockstep` in two. `plan_finder` finds the rows of a step, or does without, and
`step_message` tells all ranks. `label_feed` and `batches` bring labels and clips to a step, `label_usage` counts what was given,
`run_ahead_limit` holds a student that outruns its labels, `replay` trains by another run's plans, `feedback` carries
what the student thinks of the labels, `flow_training` trains a tracker that is a network, `score_meter` measures what a
teacher's scores mean.
"""
