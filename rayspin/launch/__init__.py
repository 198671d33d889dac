"""Submission of jobs to Slurm, and what runs on their nodes. Nothing here imports Ray: a supervisor outlives it."""
