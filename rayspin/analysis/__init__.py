"""Evaluation of networks: field estimation, the recursive process and super-resolution, and their figures."""

import logging

# If the home directory is not writable, matplotlib uses a temporary folder and logs warnings.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
