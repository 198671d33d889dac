"""Files that `rayspin init` writes: job files, site profiles and sbatch scripts.

The example of each kind of job is in the folder `jobs`. The keys that an example does not set are listed after it as
comments, with their defaults and descriptions, which are taken from the configs of that kind. A site profile is made
from the options of `rayspin submit` in the same way. The folder `slurm` has the sbatch scripts.
"""

from __future__ import annotations

import os
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from rayspin.config import Config, build, suggestion
from rayspin.errors import InputError, MachineError
from rayspin.jobs.registry import KINDS, build_stage
from rayspin.jobs.stage import Stage
from rayspin.launch.job_requests import SITE_PROFILE
from rayspin.launch.options import SubmitOptions
from rayspin.paths import expanded_path

WHAT = (*KINDS, "site", "slurm")
"""What `write` accepts."""

_FOLDER = resources.files(__name__)
_WIDTH = 110
_FURTHER = "# Further keys, with their defaults. Remove the # before a key to change it."

_SITE_HEAD = """\
# Options of `rayspin submit` that are the same for all jobs on a cluster. Remove the # before a key to set it.
# Options on the command line take precedence.
"""

_SITE_TAIL = """
# Options for some kinds of job; * matches any characters. In a pipeline, they apply to each stage.
#[kind.generate]
#nodes = 8

#[kind."train-*"]
#partition = "gpu"
#gpus_per_node = 4
#cpus_per_node = 16
#memory_per_node = "64G"
"""


def write(what: str, out: Path | None = None) -> tuple[Path, ...]:
    """Write a template, and return the paths of the new files.

    Args:
        what: a kind of job, "site" for a site profile, or "slurm" for sbatch scripts.
        out: file to write, or the folder of the sbatch scripts. Default: `KIND.toml` or `slurm` in the working
            folder, or the user's site profile.

    Raises:
        InputError: the template is unknown, or a file exists already. Nothing was written.
        MachineError: a file cannot be written.
    """
    if what == "slurm":
        folder = out or Path("slurm")
        files = {folder / script.name: script.read_text() for script in (_FOLDER / "slurm").iterdir()}
    elif what == "site":
        files = {out or expanded_path(SITE_PROFILE, "HOME"): site_profile()}
    elif what in KINDS:
        files = {out or Path(f"{what}.toml"): job_file(what)}
    else:
        raise InputError("KIND", f"unknown value {what!r}", suggestion(what, WHAT))
    for path in files:
        if os.path.lexists(path):
            raise InputError(str(path), "exists already, and is not overwritten", "give another path with -o")
    for path, text in files.items():
        _create(path, text)
    return tuple(sorted(files))


def job_file(kind: str) -> str:
    """Return a commented job file: the example of a kind of job, and all other keys with their defaults as comments."""
    example = (_FOLDER / "jobs" / f"{kind}.toml").read_text()
    table = tomllib.loads(example)
    others = "\n".join(_others(build_stage(table, kind), table))
    if not others:
        return example
    keys, blank, tables = example.rstrip("\n").partition("\n\n")
    return "\n".join([keys, "", _FURTHER, others, *(["", tables] if blank else []), ""])


def site_profile() -> str:
    """Return a commented site profile with all options of `rayspin submit`."""
    return _SITE_HEAD + "\n".join(_others(SubmitOptions(), {})) + "\n" + _SITE_TAIL


def _others(config: Config, given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield commented lines for the keys of a config that the table `given` does not set.

    A job inside a job, such as that of the trials of a sweep, is left out, because it has an example of its own.
    """
    for (name, field), value in zip(type(config).model_fields.items(), dict(config).values()):
        key, below = f"{prefix}{name}", given.get(name, {})
        if isinstance(value, Stage):
            continue
        if isinstance(value, Config) and _can_be_set_by_key(value, below):
            yield from _others(value, below, f"{key}.")
        elif name not in given:
            yield ""
            comment = " ".join((field.description or "").split())
            yield from textwrap.wrap(comment, _WIDTH, initial_indent="# ", subsequent_indent="# ")
            yield f"#{key} = {_toml(value)}".rstrip()


def _can_be_set_by_key(value: Config, given: Any) -> bool:
    """Return whether the keys that are not given have the defaults of the class, so that one can be set alone."""
    try:
        return isinstance(given, dict) and build(type(value), given, "") == value
    except InputError:
        return False


def _toml(value: Any) -> str:
    """Return a value in one line of TOML; an empty text for None."""
    if value is None:
        return ""
    if isinstance(value, Config):
        value = value.to_table()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _create(path: Path, text: str) -> None:
    """Create a file. The mode "x" refuses a file that another process has created since the check."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise MachineError(str(path), f"cannot be written ({error.strerror})", "give another path with -o") from None
