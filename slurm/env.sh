# shellcheck shell=bash
# The environment of every rayspin job on this cluster: the one file to edit here. Sourced on the first node before
# srun; what it exports reaches all nodes.

# Modules, if Python comes from one:
# module load python/3.11

# The virtual environment that rayspin is installed in, on a file system that all nodes see.
# shellcheck disable=SC1091
source "${RAYSPIN_VENV:-$SLURM_SUBMIT_DIR/.venv}/bin/activate"

# Folder on the nodes' own disks for Ray, at most 30 characters; /tmp unless said otherwise.
# export TMPDIR=/local/$USER
