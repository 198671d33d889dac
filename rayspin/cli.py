"""The command line: few verbs, job files instead of flags. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayspin import __version__
from rayspin.errors import InputError, RayspinError, RunError
from rayspin.output import Lossy, OutputError, checked, complain, end_unread
from rayspin.paths import checked_path, command, printable_path

if TYPE_CHECKING:
    from rayspin.job import Context
    from rayspin.launch.submissions import Submission

_TRAIN_EXTRA = ("safetensors", "tensorboardX", "torch")
"""Packages of the extra `train`; all else works without them."""

_FOREVER_S = 1e9
_ADDRESS_VARIABLE = "RAY_ADDRESS"


class _Group(click.Group):
    """Verbs in the order of the work; errors that a user can mend as one line, with their own exit code.

    A command ends where its output can't be written: with such a line, or, where its reader has left, as the system
    ends it.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            with checked():
                return super().main(*args, **extra)
        except RayspinError as error:
            if isinstance(error, OutputError) and error.unread:
                end_unread()
            complain(error)
            sys.exit(error.exit_code)
        except ModuleNotFoundError as error:
            if error.name not in _TRAIN_EXTRA:
                raise
            missing = InputError(error.name, "is not installed", "install it with pip install 'rayspin[train]'")
            complain(missing)
            sys.exit(missing.exit_code)


class _Path(click.Path):
    """A path that the system takes; nothing need be there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        return checked_path(path, f"--{param.name}" if isinstance(param, click.Option) else str(path))


class _NewFolder(_Path):
    """A folder to be made."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return printable_path(super().convert(value, param, ctx), "--out")


def _seconds(text: str) -> float:
    """A time that a clock can be set to."""
    seconds = float(text)
    if not 0 < seconds < _FOREVER_S:
        raise click.BadParameter(f"{text} is no time to stop after; give seconds, more than 0")
    return seconds


_job_argument = click.argument("job_file", metavar="JOB.toml", type=_Path())
_run_argument = click.argument("run", metavar="RUN", type=_Path())
_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the job: --set training.epochs=3",
)
_address_option = click.option(
    "--address",
    envvar=_ADDRESS_VARIABLE,
    show_envvar=True,
    metavar="HOST:PORT",
    help="A running Ray cluster; default: Ray on this machine.",
)
_out_option = click.option(
    "--out",
    type=_NewFolder(),
    help="Folder of the run; default: runs/ and the job file's name.",
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rayspin")
def main() -> None:
    """From a spin Hamiltonian to trained networks, on a laptop or a thousand nodes.

    A job file says what to do; its folder keeps what was done. The same command starts a run, resumes it, and
    finds a finished one done.
    """


@main.command()
@_job_argument
@_set_option
@_out_option
@_address_option
@click.option(
    "--stop-after",
    type=_seconds,
    metavar="SECONDS",
    help="Take up no more work after that, and exit with code 75.",
)
@click.option(
    "--shards",
    metavar="A:B or K/N",
    help="Only these shards of a dataset, on this node without Ray: shards A to B - 1, or part K of N. For job arrays.",
)
@click.option("--stage", metavar="NAME", help="One stage of a pipeline, those that it refers to having ended.")
def run(
    job_file: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    address: str | None,
    stop_after: float | None,
    shards: str | None,
    stage: str | None,
) -> None:
    """Start a job, or go on with it.

    Ctrl-C, SIGTERM and SIGUSR2 let work in flight end; the same command goes on later. A second one stops at once.
    """
    from rayspin import job
    from rayspin.console import show_summary

    asked = job.load(job_file, overrides)
    folder = out or job.default_out(job_file)
    context = _context(address if shards is None else None)
    context.stop.listen(stop_after)
    try:
        summary = job.run(asked, folder, context, stage=stage, shards=shards)
    finally:
        context.session.close()
    # The run has ended well, whoever reads of it.
    show_summary(_console(Lossy), summary, folder / (stage or ""))


@main.command()
@_job_argument
@_set_option
@_out_option
def check(job_file: Path, overrides: tuple[str, ...], out: Path | None) -> None:
    """Check a job and print it with every default written out."""
    from rayspin import job
    from rayspin.rundir import RunDir

    stage = job.load(job_file, overrides)
    stage.check(RunDir.at(out or job.default_out(job_file)), {})
    click.echo(job.to_toml(stage), nl=False)


@main.command()
@_job_argument
@_set_option
@_out_option
@click.option("--trials", is_flag=True, help="List the trials of a sweep: name, state, point.")
@click.option("--nodes", type=click.IntRange(min=1), default=1, help="Say how long it takes on so many nodes.")
@click.option("--cores-per-node", type=click.IntRange(min=1), help="Of those nodes; default: as many as here.")
def plan(
    job_file: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    trials: bool,
    nodes: int,
    cores_per_node: int | None,
) -> None:
    """Say what a job would do, what it would cost here, and what is done already."""
    from rayspin import job
    from rayspin.console import show_plan

    stage = job.load(job_file, overrides)
    found = job.plan(stage, out or job.default_out(job_file))
    if trials:
        click.echo("\n".join(found.listing))
    show_plan(_console(), found, len(os.sched_getaffinity(0)), nodes, cores_per_node)


@main.command()
@click.argument("dataset", type=_Path())
def verify(dataset: Path) -> None:
    """Check every byte and value of a dataset; exit code 1 if anything is wrong."""
    from rayspin.console import ConsoleProgress, show_faults, show_torques
    from rayspin.jobs.generate.repair import verify_with_progress

    found = verify_with_progress(dataset, ConsoleProgress(_console(Lossy)))
    show_faults(_console(), found.faults)
    show_torques(_console(), found)
    if found.faults:
        remedy = f"mend it: {command('repair', dataset)}"
        raise RunError(str(dataset), f"{len(found.faults)} faults", remedy)


@main.command()
@click.argument("dataset", type=_Path())
@_address_option
def repair(dataset: Path, address: str | None) -> None:
    """Make the bad shards of a dataset again, and only those, and verify them; exit code 1 if one is still wrong."""
    from rayspin.console import show_faults
    from rayspin.jobs.generate import repair as repairing

    context = _context(address)
    context.stop.listen()
    try:
        faults = repairing.repair(dataset, context)
    finally:
        context.session.close()
    show_faults(_console(), faults)
    click.echo("all is well now" if faults else "nothing to repair")


@main.command()
@click.argument("dataset", type=_Path())
@click.argument("shard")
@click.option(
    "--run", "again", is_flag=True, help="Make its samples again in this process, without Ray; write nothing."
)
def explain(dataset: Path, shard: str, again: bool) -> None:
    """Say why a shard failed, or who made it, and how to make it again here.

    SHARD is its number in the job, as `run --shards` counts them, or the name of its file.
    """
    from rayspin.console import two_columns
    from rayspin.jobs.generate import explain as explaining

    found = explaining.explain(dataset, shard)
    _console().print(two_columns(f"shard of {dataset}", found.rows))
    if found.trace:
        click.echo(found.trace)
    click.echo("\n".join(("the same again here, without Ray:", *found.commands)))
    if again:
        explaining.repeat(found, dataset, click.echo)


@main.command()
@click.argument("path", type=_Path())
@click.option("--png", type=_Path(), metavar="FILE", help="Draw a picture of it.")
def show(path: Path, png: Path | None) -> None:
    """Say what a dataset, a shard, a run or a weights file is."""
    from rayspin.console import two_columns
    from rayspin.show import describe

    title, rows = describe(path, png)
    _console().print(two_columns(title, rows))


@main.command()
def schema() -> None:
    """Print the JSON schema of job files, for editors."""
    import json

    from rayspin import job

    click.echo(json.dumps(job.json_schema(), indent=1))


@main.command()
@_run_argument
def status(run: Path) -> None:
    """Say how far a run is, wherever it runs: from its files alone."""
    from rayspin.console import two_columns
    from rayspin.status import describe

    _console().print(two_columns(*describe(run)))


@main.command()
@_job_argument
@_set_option
@_out_option
@click.option("--cluster", type=click.Choice(["slurm", "local"]), help="Slurm (default), or tasks on this machine.")
@click.option("--profile", type=_Path(), help="Site options; default: ~/.config/rayspin/site.toml.")
@click.option("--nodes", type=int, help="How many nodes form the Ray cluster.")
@click.option("--min-nodes", type=int, help="Start with so many if the others don't come.")
@click.option("--array", type=int, metavar="N", help="Generate as N jobs of one node each, in place of a cluster.")
@click.option("--time", metavar="TIME", help="Walltime, as Slurm takes it; the job is requeued until it is done.")
@click.option("--partition", metavar="NAME")
@click.option("--account", metavar="NAME")
@click.option("--cpus-per-node", type=int, help="By default whole nodes.")
@click.option("--gpus-per-node", type=int)
@click.option("--memory-per-node", metavar="SIZE", help="As Slurm takes it: 64G.")
@click.option("--interface", metavar="NAME", help="Network interface between the nodes: ib0.")
@click.option(
    "--for",
    "for_stages",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="An option for one stage of a pipeline: --for train.gpus_per_node=4",
)
@click.option("--one-job", is_flag=True, help="A pipeline as one job, on the same nodes from end to end.")
@click.option("--dry-run", is_flag=True, help="Print the script that would be submitted.")
@click.option("--wait", is_flag=True, help="Stay, show the run's output, and end as it ends.")
def submit(
    job_file: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    profile: Path | None,
    for_stages: tuple[str, ...],
    one_job: bool,
    dry_run: bool,
    wait: bool,
    **options: Any,
) -> None:
    """Hand a job over to a cluster and come back.

    Each stage of a pipeline becomes a job of its own, which waits for those that it refers to.
    """
    from rayspin import job
    from rayspin.claims import HeldError
    from rayspin.launch import submit
    from rayspin.launch.options import SiteProfile, pieces
    from rayspin.rundir import RunDir

    folder = out or job.default_out(job_file)
    asked = job.load(job_file, overrides)
    asked.check(RunDir.at(folder), {})
    given = {name: value for name, value in options.items() if value is not None}
    parts = pieces(asked, SiteProfile.read(profile), given, job.parse_settings(for_stages, "--for"), one_job)
    if dry_run:
        click.echo(submit.script(job_file, folder, overrides, parts), nl=False)
        return
    submission = submit.submit(job_file, folder, overrides, parts)
    if len(parts) > 1:
        # A stage that has started already does it, too.
        with suppress(HeldError):
            job.mark(asked, folder)
    click.echo(f"job {submission.job_ids} runs {job_file} in {folder}")
    if wait:
        _follow(submission)
    else:
        click.echo(f"its output: {submission.parts[0].log if len(submission.parts) == 1 else submission.folder}")
        verbs = (("status", folder), ("logs", folder, "--follow"), ("cancel", folder))
        click.echo("next: " + "; ".join(command(*words) for words in verbs))


@main.command()
@_run_argument
@click.option("--follow", is_flag=True, help="Stay until the job has ended, and end as it ends.")
def logs(run: Path, follow: bool) -> None:
    """Print the output of a run's last submission, of all its stages or tasks."""
    from rayspin.launch import submissions

    submission = submissions.latest(run)
    if follow:
        _follow(submission)
    else:
        for text in submissions.logs(submission):
            click.echo(text, nl=False)


@main.command()
@_run_argument
def cancel(run: Path) -> None:
    """End a run's last submission; what is done is kept."""
    from rayspin.launch import submissions

    submission = submissions.latest(run)
    submissions.cancel(submission)
    click.echo(f"job {submission.job_ids} is asked to end; the same submission later goes on where it was")


@main.command()
@_out_option
@click.option("--profile", type=_Path(), help="Site options; default: ~/.config/rayspin/site.toml.")
@click.option("--interface", metavar="NAME", help="Network interface between the nodes: ib0.")
def doctor(out: Path | None, profile: Path | None, interface: str | None) -> None:
    """Test on a node what the site gives, and say what to change."""
    from rayspin.console import show_findings
    from rayspin.launch.doctor import examine
    from rayspin.launch.options import SiteProfile

    site = SiteProfile.read(profile).options("generate")
    scratch = None if site.scratch is None else Path(site.scratch)
    findings = examine(out or Path("runs"), interface or site.interface, scratch)
    show_findings(_console(), findings)
    bad = sum(bool(finding.remedy) for finding in findings)
    if bad:
        raise RunError("doctor", f"{bad} of {len(findings)} findings need a change", "see the remedies above")


def _follow(submission: Submission) -> None:
    """Show a submission's output until it has ended, and end as it did."""
    from rayspin.launch import submissions

    for text in submissions.follow(submission):
        click.echo(text, nl=False)
    end = submissions.state(submission)
    if end.name != "done":
        raise RunError(f"job {submission.job_ids}", str(end), f"see {submission.folder}")


def _console(through: Callable[[Any], Any] = lambda stream: stream) -> Any:
    """Standard output for tables and progress, `through` what it goes first."""
    from rayspin.console import console_on

    return console_on(through(sys.stdout))


def _context(address: str | None) -> Context:
    from rayspin.console import ConsoleProgress
    from rayspin.execution.session import EMBEDDED, Session
    from rayspin.execution.stopping import StopRequest
    from rayspin.job import Context

    stop = StopRequest()
    session = Session(address or EMBEDDED, stop=stop)
    given = click.get_current_context().get_parameter_source("address")
    session.check(_ADDRESS_VARIABLE if given == click.core.ParameterSource.ENVIRONMENT else "--address")
    return Context(session, ConsoleProgress(_console(Lossy)), stop)


if __name__ == "__main__":
    sys.exit(main())
