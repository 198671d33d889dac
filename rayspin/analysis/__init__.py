"""What the networks are good for: estimation, the recursive process, super-resolution; and their pictures."""

import logging

# Where the home can't be written, matplotlib goes on with a temporary folder, and with lines of advice.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
