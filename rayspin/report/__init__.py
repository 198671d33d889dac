"""Reports: a self-contained HTML page about one or several runs, finished or in progress."""

from rayspin.report.render import write_report
from rayspin.report.renewal import watch

__all__ = ["watch", "write_report"]
