"""Submission of jobs to Slurm, and the programs on their nodes. Nothing here imports Ray: a supervisor outlives it."""
