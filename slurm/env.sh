# shellcheck shell=bash
# Environment of every rayspin job on this cluster. Edit this file for your site. It is sourced on the first node before
# srun, which passes exported variables to all nodes.

# If Python is provided by a module:
# module load python/3.11

# Virtual environment in which rayspin is installed, on a file system shared by all nodes.
# shellcheck disable=SC1091
source "${RAYSPIN_VENV:-$SLURM_SUBMIT_DIR/.venv}/bin/activate"

# Folder for Ray on the local disk of each node, with a path of at most 30 characters. Default: /tmp.
# export TMPDIR=/local/$USER
