"""Strict configs report each mistake in one line with the key and the remedy."""

from __future__ import annotations

import pydantic
import pytest

from rayspin.config import Config, build, replace_key
from rayspin.errors import InputError


class Inner(Config):
    sweeps: int = pydantic.Field(default=10, gt=0)
    mode: str = "a"

    @pydantic.model_validator(mode="after")
    def _own_check(self) -> Inner:
        if self.mode == "bad":
            raise InputError("mode", "is bad", "choose another")
        return self


class Outer(Config):
    schedule: Inner = Inner()
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    name: str = pydantic.Field(min_length=1, default="x")
    count: int


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"cuont": 1}, "job.toml: cuont: unknown key; did you mean 'count'?"),
        ({"count": 1, "schedule": {"sweps": 1}}, "job.toml: schedule.sweps: unknown key; did you mean 'sweeps'?"),
        ({"count": 1, "schedule": {"zzz": 1}}, "job.toml: schedule.zzz: unknown key; known: mode, sweeps"),
        ({"count": "1"}, "job.toml: count: '1' is invalid; write a whole number"),
        ({"count": True}, "job.toml: count: True is invalid; write a whole number"),
        ({"count": 1, "axis": "z"}, "job.toml: axis: 'z' is invalid; write a list: [ ... ]"),
        (
            {"count": 1, "axis": [0, 0, float("nan")]},
            "job.toml: axis.2: nan is invalid; input should be a finite number",
        ),
        ({"count": 1, "schedule": 3}, "job.toml: schedule: 3 is invalid; write a table"),
        (
            {"count": 1, "schedule": {"sweeps": 0}},
            "job.toml: schedule.sweeps: 0 is invalid; input should be greater than 0",
        ),
        ({"count": 1, "schedule": {"mode": "bad"}}, "job.toml: schedule.mode: is bad; choose another"),
        ({}, "job.toml: count: missing key; add it"),
    ],
)
def test_mistake_is_reported_in_one_line_with_key_value_and_remedy(table: dict[str, object], line: str) -> None:
    with pytest.raises(InputError) as caught:
        build(Outer, table, "job.toml")
    assert str(caught.value) == line
    assert caught.value.exit_code == 2


def test_integers_are_accepted_as_floats_and_lists_as_tuples() -> None:
    built = build(Outer, {"count": 1, "axis": [1, 0, 0]}, "job.toml")
    assert built.axis == (1.0, 0.0, 0.0)
    assert all(isinstance(part, float) for part in built.axis)


def test_config_is_immutable_and_hashable() -> None:
    built = build(Outer, {"count": 1}, "job.toml")
    with pytest.raises(pydantic.ValidationError):
        built.count = 2  # type: ignore[misc]
    assert {built: 1}[Outer(count=1)] == 1


def test_table_of_a_config_builds_an_equal_config() -> None:
    built = build(Outer, {"count": 3, "schedule": {"sweeps": 7}}, "job.toml")
    assert build(Outer, built.to_table(), "again") == built


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Outer(count=1).with_updates(count="many"), "count: 'many' is invalid; write a whole number"),
        (lambda: Outer(count="many"), "count: 'many' is invalid; write a whole number"),
        (lambda: Outer(), "count: missing key; add it"),
        (lambda: Outer(cuont=1), "cuont: unknown key; did you mean 'count'?"),
        (lambda: Outer(count=1, schedule={"mode": "bad"}), "schedule.mode: is bad; choose another"),
        (lambda: Inner(mode="bad"), "mode: is bad; choose another"),
    ],
)
def test_python_arguments_are_validated_like_a_job_file(make, message) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value) == message


def test_quoted_part_of_a_key_may_contain_dots() -> None:
    table: dict[str, object] = {"space": {"network.scale": [4]}}
    replace_key(table, 'space."network.scale"', [4, 8], "--set")
    replace_key(table, "resources.concurrent", 2, "--set")
    assert table == {"space": {"network.scale": [4, 8]}, "resources": {"concurrent": 2}}
    for wrong in ("", "a..b", ".a", 'a."', "a."):
        with pytest.raises(InputError, match=r"is not a valid key; write table\.key"):
            replace_key(table, wrong, 1, "--set")
