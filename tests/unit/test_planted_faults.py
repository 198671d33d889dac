"""The list of planted faults matches the package. `tests.support.planted_faults` runs them in half an hour."""

from __future__ import annotations

import pytest

from tests.support.planted_faults import FAULTS, Fault
from tests.support.repository import REPOSITORY


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_fault_occurs_once_and_its_tests_exist(fault: Fault) -> None:
    assert (REPOSITORY / "rayspin" / fault.file).read_text().count(fault.right) == 1
    assert fault.right != fault.wrong
    assert all((REPOSITORY / "tests" / test).is_file() for test in fault.tests)
