"""Entry point of the command line: `rayspin`, or `python -m rayspin`."""

import os
import sys


def main() -> None:
    """Run the command line, with the working folder and the script's folder removed from Python's module path."""
    # A file in one of these folders could shadow a module, in this process and in its child processes.
    if not sys.flags.safe_path:
        del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"
    from rayspin import signals

    # Before anything else: a run that receives SIGTERM from now on ends as it does on request.
    signals.hold()
    from rayspin import cli

    try:
        cli.main(prog_name="rayspin")
    finally:
        signals.ignore_at_exit()


if __name__ == "__main__":
    main()
