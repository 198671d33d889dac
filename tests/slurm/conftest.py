"""Fixtures with a real Slurm cluster."""

from tests.support.slurm.fixtures import labs, slurm, with_accounts, without_accounting, without_warning

__all__ = ["labs", "slurm", "with_accounts", "without_accounting", "without_warning"]
