"""Jobs of kind "tune": sweeps over the keys of a training or of the generation of a dataset, with Ray Tune.

`space` and `trials` turn the points of a search space into checked jobs. A scheduler (`schedulers`, `population`)
chooses the next segment of a trial as a pure function of the results so far. `segment_queue` reports the results in the
`ledger` to the scheduler and gives out the missing segments. `engine` runs them with Ray Tune; `segments` has the code
that runs in the workers. `report` writes the table and the pictures. Only `engine` imports Ray.
"""
