"""Processes that belong together: who is here, in which role, and how a role speaks within itself.

A process reads its environment once (`environment`), learns its seat from a pure function (`topology`), and
joins the process group of its role (`groups`): from there on the default group IS the role, so a barrier
involves nobody else and libraries that assume "world = me" are right. Roles exchange small facts by
`collectives` and leave together when `shutdown` says so, also while they start (`waiting`). Where all of them sit on one
machine, `loopback` starts them so that nobody outside can reach their store (`local_store`). Nothing here ever spans two roles.

Work that needs no role is divided into a `share` for each machine, or into tasks (`ray_tasks`) of a `ray_cluster`.
"""
