"""The story of a run, told by the only room that knows all the others.

`open_run` makes or takes up the run directory, `build` makes a rank's parts, `story` tells one process's part from
first file to last. `student` and `teacher` are the roles, `student_run` and `teacher_run` their lives, `duties` what a
student does beside learning; `inline` takes turns between the two in one process, `lockstep` in two. `steps` holds what
a step computes, `labelling` and `views` what a teacher says, `batches` and `pseudo_feed` what a student is given.
`evaluation` measures, `prediction` finds landmarks on new footage; `status` and `report` look at a run from outside.
"""
