"""Command lines, profiles and sbatch scripts agree with the models in which the options of a job are declared."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rayspin.cli import main as rayspin
from rayspin.errors import InputError
from rayspin.launch.__main__ import main as launch
from rayspin.launch.arguments import given_options
from rayspin.launch.options import SubmitOptions, SupervisorOptions
from tests.support.repository import SCRIPTS
from tests.support.submissions import JOB


@pytest.mark.parametrize(
    ("command", "model"), [(rayspin.commands["submit"], SubmitOptions), (launch, SupervisorOptions)]
)
def test_command_line_has_every_option_of_the_model(command: click.Command, model: type[SupervisorOptions]) -> None:
    params = {param.name: param for param in command.get_params(click.Context(command))}
    for name, field in model.model_fields.items():
        option = params[name]
        assert isinstance(option, click.Option)
        assert option.opts == ["--" + name.replace("_", "-")]
        assert field.description is not None
        assert " ".join(field.description.split()) in (option.help or "")


def test_options_of_every_type_appear_in_the_script(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "site.toml").write_text('modules = ["site"]\nqos = "slow"\naccount = "spins"\n')
    line = (
        "submit --dry-run --nodes 3 --no-exclusive --time 2:00:00 --qos fast --modules gcc --modules python "
        "--options reservation=weekend --options mail-type=END,FAIL --drain-seconds 300"
    )
    arguments = [*line.split(), "--setup", "export A='1 2'", "--profile", str(tmp_path / "site.toml")]
    result = CliRunner().invoke(rayspin, [*arguments, str(tmp_path / "job.toml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    lines = set(result.stdout.splitlines())
    assert {f"#SBATCH --{option}" for option in ("nodes=3", "time=120", "qos=fast", "account=spins")} <= lines
    assert {"#SBATCH --reservation=weekend", "#SBATCH --mail-type=END,FAIL", "#SBATCH --signal=USR2@300"} <= lines
    assert {"module load gcc", "module load python", "export A='1 2'"} <= lines
    assert not {"#SBATCH --exclusive", "module load site"} & lines


def test_table_item_without_a_value_is_refused() -> None:
    with pytest.raises(InputError, match="--options reservation: is not KEY=VALUE"):
        given_options({"options": ("reservation",)}, SubmitOptions)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sbatch")), ids=lambda path: path.name)
def test_scripts_request_the_signal_that_supervisors_expect(script: Path) -> None:
    directives = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    assert f"#SBATCH --signal=USR2@{SupervisorOptions().drain_seconds}" in directives
    assert "#SBATCH --requeue" in directives
