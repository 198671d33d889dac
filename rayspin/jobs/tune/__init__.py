"""Jobs of kind "tune": sweeps over the keys of a training or of a generation, over Ray Tune.

`space` and `trials` turn a search space into checked jobs. A scheduler (`schedulers`, `population`) says which segment
of which trial runs next, as a pure function of the results so far; `segment_queue` plays it against the `ledger`;
`engine` runs the missing segments over Ray Tune by the code in `segments`; `report` makes the table and the pictures.
Only `engine` imports Ray.
"""
