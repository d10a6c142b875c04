"""Methods. A method is one file: a class of settings, and a function `recipe` that composes parts.

`api` says what the parts are, `find` gets a method by its name, anybody's file included; `python -m tsal_dist.recipes`
lists what there is. The parts that several methods share have a file each: `averaging` and `following` (what a net of the
panel does with the student's weights), `labelling`, `labellers`, `fusion` and `weighers` (from nets to targets), `mixing`
(harder views), `terms` (what is minimised), `students` (twins and the like), `tracking` (a teacher's own lesson).
docs/recipes.md is the page that takes a reader from nothing to a method of her own.
"""
