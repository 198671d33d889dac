"""The list of planted faults fits the package; running them takes half an hour (`tests.support.planted_faults`)."""

from __future__ import annotations

import pytest

from tests.support.planted_faults import FAULTS, Fault
from tests.support.repository import REPOSITORY


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_fault_has_one_place_and_tests_that_exist(fault: Fault) -> None:
    assert (REPOSITORY / "rayspin" / fault.file).read_text().count(fault.right) == 1
    assert fault.right != fault.wrong
    assert all((REPOSITORY / "tests" / test).is_file() for test in fault.tests)
