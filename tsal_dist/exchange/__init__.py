"""What crosses between roles: named bytes in a store, signs of life, and who may speak.

A role opens the run's store, claims its incarnation, shows its hello and waits until every peer has answered
it. Then it beats while it works and reads the beats of the others. The student says why the run ends, in the stop flag.
How an attempt ended a role says in a note for its launcher (`exit_note`).
"""
