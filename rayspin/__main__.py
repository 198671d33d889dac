"""The program: `rayspin`, or `python -m rayspin`."""

import os
import sys


def main() -> None:
    """The command line, with nothing on the path that only happens to lie where it was started or installed."""
    # Files in the working folder or beside the script may shadow modules, here and in all processes of this one.
    if not sys.flags.safe_path:
        del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"
    from rayspin import cli

    cli.main(prog_name="rayspin")


if __name__ == "__main__":
    main()
