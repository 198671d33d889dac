"""The parts of a sweep: what to try, in what course, on which actors, and what came of it.

`space` and `trials` turn a search space into checked jobs; a `course` says which of them runs next, as a pure function
of the results so far; `feed` plays it against the `ledger`, `engine` runs what is missing over Ray Tune with the work
of `legs`; `report` makes the table and the pictures. Only `engine` knows Ray.
"""
