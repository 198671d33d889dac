"""Starting a job on a cluster: what to ask Slurm for, one supervisor a node, a Ray cluster for this job alone.

Nothing here imports Ray: its daemons and the driver are child processes. Read `slurm` (submission), then `supervisor`
(what runs on each node).
"""
