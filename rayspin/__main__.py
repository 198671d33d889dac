"""`python -m rayspin` is `rayspin`."""

from rayspin.cli import main

main(prog_name="rayspin")
