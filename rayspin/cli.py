"""The command line `rayspin`.

Jobs are described in files, so the commands have few options. Each command imports the modules it needs when it is
called, which keeps `rayspin --help` fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayspin import __version__, signals
from rayspin.errors import InputError, RayspinError, RunError
from rayspin.execution.stopping import interruptible
from rayspin.figure_files import VECTOR_FORMATS
from rayspin.output import Lossy, OutputError, checked, complain, end_unread
from rayspin.paths import checked_path, command, printable_path

if TYPE_CHECKING:
    from rayspin.job import Context
    from rayspin.launch.submissions import Submission

_TRAIN_EXTRA = ("safetensors", "tensorboardX", "torch")
"""Packages of the extra `train`; all else works without them."""

_DRAINING = ("run", "repair")
"""Commands that finish the work in progress on SIGTERM. They receive it once they are ready for that."""

_FOREVER_S = 1e9
_ADDRESS_VARIABLE = "RAY_ADDRESS"
_FIGURES_VARIABLE = "RAYSPIN_FIGURES"


class _Group(click.Group):
    """A group that lists its commands in order of definition and reports errors of rayspin in one line.

    The exit code is that of the error. If standard output cannot be written, the command ends with such a line; if its
    reader has closed the pipe, the command is terminated by SIGPIPE.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            with checked(), interruptible():
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
        finally:
            signals.release()


class _Path(click.Path):
    """A path that is valid on this machine. The file need not exist."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        return checked_path(path, f"--{param.name}" if isinstance(param, click.Option) else str(path))


class _NewFolder(_Path):
    """The path of a folder to create."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return printable_path(super().convert(value, param, ctx), "--out")


class _NewFile(_Path):
    """The path of a file to write into a folder that exists, so that the result of long work is not lost."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = super().convert(value, param, ctx)
        if not path.parent.is_dir():
            raise InputError(
                "--out", f"there is no folder {path.parent}", "create it, or give a file in another folder"
            )
        return path


class _SubmitCommand(click.Command):
    """A command with an option for each field of `SubmitOptions`, which is imported when the command is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from rayspin.launch.arguments import options_of
        from rayspin.launch.options import SubmitOptions

        *given, help_option = super().get_params(ctx)
        return [*given, *options_of(SubmitOptions), help_option]


def _seconds(text: str) -> float:
    """Parse a time in seconds that can be passed to a timer."""
    seconds = float(text)
    if not 0 < seconds < _FOREVER_S:
        raise click.BadParameter(f"{text} is not a valid time; give a number of seconds greater than 0")
    return seconds


def _numbers(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:  # noqa: ARG001
    """Parse whole numbers above 0, separated by commas."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 8 and int(part) for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of numbers; give numbers above 0, such as 1,16,256")
    return tuple(map(int, parts))


_job_argument = click.argument("job_file", metavar="JOB.toml", type=_Path())
_run_argument = click.argument("run", metavar="RUN", type=_Path())
_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the job: --set training.epochs=3. May be repeated.",
)
_address_option = click.option(
    "--address",
    envvar=_ADDRESS_VARIABLE,
    show_envvar=True,
    metavar="HOST:PORT",
    help="Address of a running Ray cluster. Default: start Ray on this machine.",
)
_out_option = click.option(
    "--out",
    type=_NewFolder(),
    help="Folder of the run. Default: runs/NAME, where NAME is the name of the job file without its suffix.",
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rayspin")
@click.pass_context
def main(context: click.Context) -> None:
    """Generate spin textures, train networks on them, and evaluate the networks, on a laptop or on a cluster.

    A job file describes a job, and the folder of a run holds its results. The same command starts a run, resumes an
    interrupted run, and reports the results of a finished run.
    """
    if context.invoked_subcommand in _DRAINING:
        # The libraries that these commands import start threads.
        signals.hold()
    else:
        signals.release()


@main.command()
@_job_argument
@_set_option
@_out_option
@_address_option
@click.option(
    "--stop-after",
    type=_seconds,
    metavar="SECONDS",
    help="Stop the run after SECONDS, as SIGUSR2 does, and exit with code 75.",
)
@click.option(
    "--shards",
    metavar="A:B or K/N",
    help="Generate only the shards A to B - 1, or part K of N, on this node and without Ray. Used by job arrays.",
)
@click.option("--stage", metavar="NAME", help="Run one stage of a pipeline. The stages it refers to must be finished.")
@click.option(
    "--figures",
    multiple=True,
    type=click.Choice(VECTOR_FORMATS),
    envvar=_FIGURES_VARIABLE,
    show_envvar=True,
    help="Also write each figure in this format, beside its PNG file. May be repeated. A finished run draws it then.",
)
def run(
    job_file: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    address: str | None,
    stop_after: float | None,
    shards: str | None,
    stage: str | None,
    figures: tuple[str, ...],
) -> None:
    """Start or resume a job.

    Ctrl-C, SIGTERM or SIGUSR2 stops the run after the shards or epochs in progress, with exit code 75. A second Ctrl-C
    or SIGTERM stops it at once. The same command resumes it.
    """
    from rayspin import job
    from rayspin.console import show_summary

    asked = job.load(job_file, overrides)
    folder = out or job.default_out(job_file)
    context = replace(_context(address if shards is None else None), figures=figures)
    context.stop.listen(stop_after)
    try:
        summary = job.run(asked, folder, context, stage=stage, shards=shards)
    finally:
        context.session.close()
    # The run has succeeded even if its summary cannot be printed.
    show_summary(_console(Lossy), summary, folder / (stage or ""))


@main.command()
@click.argument("what", metavar="KIND")
@click.option("-o", "--out", type=_Path(), help="File to write. Default: KIND.toml in the working folder.")
def init(what: str, out: Path | None) -> None:
    """Write a commented job file, a site profile or sbatch scripts.

    KIND is a kind of job, such as generate or train-fcn. "site" writes the profile of your cluster,
    ~/.config/rayspin/site.toml, and "slurm" a folder of sbatch scripts. A file that exists is not overwritten.
    """
    from rayspin import templates

    for path in templates.write(what, out):
        click.echo(f"written: {path}")


@main.command()
@_job_argument
@_set_option
@_out_option
def check(job_file: Path, overrides: tuple[str, ...], out: Path | None) -> None:
    """Check a job and print it with all defaults filled in."""
    from rayspin import job
    from rayspin.rundir import RunDir

    stage = job.load(job_file, overrides)
    stage.check(RunDir.at(out or job.default_out(job_file)), {})
    click.echo(job.to_toml(stage), nl=False)


@main.command()
@_job_argument
@_set_option
@_out_option
@click.option("--trials", is_flag=True, help="List the trials of a sweep: name, state, parameters.")
@click.option("--nodes", callback=_numbers, metavar="N[,N...]", default="1", help="Also estimate the time on N nodes.")
@click.option("--cores-per-node", type=click.IntRange(min=1), help="CPU cores of each node. Default: as this machine.")
def plan(
    job_file: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    trials: bool,
    nodes: tuple[int, ...],
    cores_per_node: int | None,
) -> None:
    """Print what a job would do and cost, and what is already done."""
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
    """Check every byte and every value of a dataset.

    The exit code is 1 if there are faults.
    """
    from rayspin.console import ConsoleProgress, show_faults, show_torques
    from rayspin.jobs.generate.repair import verify_with_progress

    found = verify_with_progress(dataset, ConsoleProgress(_console(Lossy)))
    show_faults(_console(), found.faults)
    show_torques(_console(), found)
    if found.faults:
        remedy = f"repair the dataset: {command('repair', dataset)}"
        raise RunError(str(dataset), f"{len(found.faults)} faults", remedy)


@main.command()
@click.argument("dataset", type=_Path())
@_address_option
def repair(dataset: Path, address: str | None) -> None:
    """Regenerate the faulty shards of a dataset and verify them.

    Intact shards are not changed. The exit code is 1 if a shard is still faulty.
    """
    from rayspin.console import show_faults
    from rayspin.jobs.generate import repair as repairing

    context = _context(address)
    context.stop.listen()
    try:
        faults = repairing.repair(dataset, context)
    finally:
        context.session.close()
    show_faults(_console(), faults)
    click.echo("the dataset is repaired" if faults else "nothing to repair")


@main.command()
@click.argument("dataset", type=_Path())
@click.argument("shard")
@click.option(
    "--run", "again", is_flag=True, help="Generate its samples again in this process, without Ray. Nothing is written."
)
def explain(dataset: Path, shard: str, again: bool) -> None:
    """Explain how a shard was made or why it failed.

    The output includes the commands that reproduce the shard or the failure on this machine.

    SHARD is the number of the shard in the job, counted from 0 as in `run --shards`, or the name of its file.
    """
    from rayspin.console import two_columns
    from rayspin.jobs.generate import explain as explaining

    found = explaining.explain(dataset, shard)
    _console().print(two_columns(f"shard of {dataset}", found.rows))
    if found.trace:
        click.echo(found.trace)
    click.echo("\n".join(("to reproduce it on this machine, without Ray:", *found.commands)))
    if again:
        explaining.repeat(found, dataset, click.echo)


@main.command()
@click.argument("what", metavar="WEIGHTS")
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True, type=_Path())
@click.option(
    "-o",
    "--out",
    "outputs",
    multiple=True,
    type=_NewFile(),
    metavar="FILE",
    help="File of the result: .nc, .npz, .ovf, or a picture: .png, .pdf, .svg. May be repeated. "
    "Default: NAME-result.nc and NAME-result.png.",
)
@click.option("--iterations", type=click.IntRange(min=1), default=None, help="Iterations of the recursive process.")
@click.option("--scale", type=click.IntRange(min=2), help="Fine sites per coarse pixel, for a method.")
@click.option("--hamiltonian", metavar="PRESET", help='Hamiltonian of the spins: "labyrinth" or "domain".')
@click.option("--noise", metavar="ALPHA", default="0", help='Amplitude of the noise of coarse spins, or "estimated".')
@click.option("--components", is_flag=True, help="The three inputs are images of S_x, S_y and S_z.")
@click.option("--normalize", is_flag=True, help="Normalize the spins to length 1 first.")
@click.option("--edges", type=click.Choice(["periodic", "mirrored"]), help="What lies beyond the edges of an image.")
@click.option("--sites-per-pixel", metavar="X", help='Resize an image by this factor first, or "auto".')
@click.option("--mask", type=_Path(), metavar="FILE", help="Image whose black pixels are unknown in the input.")
@click.option("--background", type=click.Choice(["none", "plane", "quadratic"]), help="Background of gray levels.")
@click.option(
    "--percentiles", type=float, nargs=2, help="Percentiles of the gray levels at which S_z is -1 and 1. Default: 2 98."
)
@click.option("--levels", type=float, nargs=2, help="Gray levels of S_z = -1 and 1.")
@click.option("--smoothing", type=float, metavar="PIXELS", help="Width of the average that levels are fitted to.")
@click.option("--inverted", is_flag=True, help="Dark pixels have S_z = 1.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", help="Split of a dataset.")
@click.option("--samples", type=click.IntRange(min=1), default=1, help="Number of samples of a dataset.")
def apply(what: str, sources: tuple[Path, ...], outputs: tuple[Path, ...], components: bool, **options: Any) -> None:
    """Apply a trained network, or a method of reconstruction, to images, spins or samples of a dataset.

    WEIGHTS is a weight file, the folder of a training, the name of a network of the package, such as labyrinth-field or
    labyrinth-x8, or a method that needs no network, such as projections. The network says what it does: it estimates
    the effective field, or it reconstructs fine spins.

    INPUT is an image (PNG, TIFF, ...) whose gray levels show S_z, an OVF file, an array in NetCDF, .npz or .npy, or the
    folder of a dataset.
    """
    from rayspin.application.command import run_all

    for path, figures, written in run_all(what, sources, outputs, components=components, options=options):
        from rayspin.console import two_columns

        _console().print(two_columns(path, figures))
        for file in written:
            click.echo(f"written: {file}")


@main.command()
@click.argument("path", type=_Path())
@click.option("-o", "--out", type=_NewFile(), metavar="FILE", help="Also draw it to this file: .png, .pdf or .svg.")
def show(path: Path, out: Path | None) -> None:
    """Describe a dataset, a shard, a run, a weights file or a result of `rayspin apply`."""
    from rayspin.console import two_columns
    from rayspin.show import describe

    title, rows = describe(path, out)
    _console().print(two_columns(title, rows))
    if out is not None:
        click.echo(f"written: {out}")


@main.command()
def schema() -> None:
    """Print the JSON schema of job files, for use in an editor."""
    import json

    from rayspin import job

    click.echo(json.dumps(job.json_schema(), indent=1))


@main.command()
@_run_argument
def status(run: Path) -> None:
    """Print the progress of a run and of its submissions.

    The progress is read from the files of the run, so the command works on any machine that can read them.
    """
    from rayspin.console import two_columns
    from rayspin.status import describe

    _console().print(two_columns(*describe(run)))


@main.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_Path())
@click.option(
    "-o", "--out", "page", type=_NewFile(), default="report.html", metavar="FILE", help="Default: report.html."
)
@click.option("--watch", is_flag=True, help="Write the page again every few seconds until no run is in progress.")
@click.option("--interval", type=_seconds, default="5", metavar="SECONDS", help="Time between two pages. Default: 5.")
def report(runs: tuple[Path, ...], page: Path, watch: bool, interval: float) -> None:
    """Write a page about runs: one HTML file with tables, charts and pictures, for any browser.

    RUN is the folder of a run, finished or in progress. A page about several runs has a section for each.
    """
    from rayspin import report as reporting

    if watch:
        click.echo(f"writing {page} every {interval:g} s until no run is in progress")
        reporting.watch(runs, page, interval)
    else:
        reporting.write_report(runs, page)
    click.echo(f"written: {page}")


@main.command(cls=_SubmitCommand)
@_job_argument
@_set_option
@_out_option
@click.option("--profile", type=_Path(), help="File with the site's options. Default: ~/.config/rayspin/site.toml.")
@click.option(
    "--for",
    "for_stages",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="Set an option for one stage of a pipeline: --for train.gpus_per_node=4. May be repeated.",
)
@click.option("--one-job", is_flag=True, help="Submit a pipeline as one job that runs all stages on the same nodes.")
@click.option("--dry-run", is_flag=True, help="Print the script without submitting it.")
@click.option("--wait", is_flag=True, help="Print the output until the job ends, and fail if the job fails.")
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
    """Submit a job to a cluster.

    Each stage of a pipeline is submitted as a separate job that starts when the stages it refers to have finished.
    Options that are not given are taken from the site profile.
    """
    from rayspin import job
    from rayspin.claims import HeldError
    from rayspin.launch import submit
    from rayspin.launch.arguments import given_options
    from rayspin.launch.job_requests import SiteProfile, job_requests
    from rayspin.launch.options import SubmitOptions
    from rayspin.rundir import RunDir

    folder = out or job.default_out(job_file)
    asked = job.load(job_file, overrides)
    asked.check(RunDir.at(folder), {})
    given = given_options(options, SubmitOptions)
    requests = job_requests(asked, SiteProfile.read(profile), given, job.parse_settings(for_stages, "--for"), one_job)
    if dry_run:
        click.echo(submit.script(job_file, folder, overrides, requests), nl=False)
        return
    submission = submit.submit(job_file, folder, overrides, requests)
    if len(requests) > 1:
        # A stage that has already started holds the lock, and has marked the folder itself.
        with suppress(HeldError):
            job.mark(asked, folder)
    click.echo(f"job {submission.job_ids} runs {job_file} in {folder}")
    if wait:
        _follow(submission)
    else:
        click.echo(f"output: {submission.parts[0].log if len(submission.parts) == 1 else submission.folder}")
        verbs = (("status", folder), ("logs", folder, "--follow"), ("cancel", folder))
        click.echo("next: " + "; ".join(command(*words) for words in verbs))


@main.command()
@_run_argument
@click.option("--follow", is_flag=True, help="Print new output until the job ends, and fail if the job fails.")
def logs(run: Path, follow: bool) -> None:
    """Print the output of a run's last submission.

    The output of all its stages or tasks is printed.
    """
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
    """Cancel a run's last submission. Finished work is kept."""
    from rayspin.launch import submissions

    submission = submissions.latest(run)
    submissions.cancel(submission)
    click.echo(f"job {submission.job_ids} is being canceled; submit the same job again to resume it")


@main.command()
@click.option("--out", type=_NewFolder(), help="Folder of runs to test. Default: runs/.")
@click.option("--profile", type=_Path(), help="File with the site's options. Default: ~/.config/rayspin/site.toml.")
@click.option("--interface", metavar="NAME", help="Network interface between the nodes, such as ib0.")
def doctor(out: Path | None, profile: Path | None, interface: str | None) -> None:
    """Test whether rayspin can run on the nodes of a cluster.

    Each problem is reported with its remedy, and the exit code is 1 if there are problems. Run it on a node of the
    cluster, or with srun on two nodes to test the network between them as well.
    """
    from rayspin.console import show_findings
    from rayspin.launch.doctor import examine
    from rayspin.launch.job_requests import SiteProfile

    site = SiteProfile.read(profile).options("generate")
    findings = examine(out or Path("runs"), interface or site.interface, site.scratch_folder)
    show_findings(_console(), findings)
    bad = sum(bool(finding.remedy) for finding in findings)
    if bad:
        raise RunError("doctor", f"{bad} of {len(findings)} findings need a change", "see the remedies above")


def _follow(submission: Submission) -> None:
    """Print the output of a submission until it ends; raise RunError unless it succeeded."""
    from rayspin.launch import submissions

    for text in submissions.follow(submission):
        click.echo(text, nl=False)
    end = submissions.state(submission)
    if end.name != "done":
        raise RunError(f"job {submission.job_ids}", str(end), f"see {submission.folder}")


def _console(through: Callable[[Any], Any] = lambda stream: stream) -> Any:
    """Return a console on standard output, wrapped by `through`."""
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
