"""The commands for Kubeflow Pipelines: `recycle submit`, `upload`, `schedule` and `runs`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import JSON, PARAMETERS, print_json, report_errors, resource_options

if TYPE_CHECKING:
    from pipelines.backend import Api, Cluster
    from pipelines.local import RunResult

EXPERIMENT = click.option(
    "--experiment", default="recycle", show_default=True, help="KFP experiment to put the runs in."
)


def where(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: the options that say where Kubeflow Pipelines is."""
    options = [
        click.option(
            "--endpoint",
            envvar=["KF_PIPELINES_ENDPOINT", "KFP_ENDPOINT"],
            show_envvar=True,
            help="Address of the KFP API, such as http://localhost:8888. Without it, KFP is reached through the "
            "cluster that kubectl uses. A bearer token is read from KFP_EXISTING_TOKEN.",
        ),
        click.option(
            "--namespace",
            envvar="KFP_NAMESPACE",
            show_envvar=True,
            default="kubeflow",
            show_default=True,
            help="Namespace that KFP runs in; in multi-user mode, your own namespace.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("pipeline")
@PARAMETERS
@resource_options
@EXPERIMENT
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the run until it ends.")
@click.option(
    "--gpu-check/--no-gpu-check",
    default=True,
    show_default=True,
    help="Refuse to start if no node of the cluster has the GPUs asked for; switch it off where nodes are added on "
    "demand.",
)
@where
@JSON
@report_errors
def submit(
    pipeline: str,
    assignments: tuple[str, ...],
    profile: str,
    settings: tuple[str, ...],
    experiment: str,
    wait: bool,
    gpu_check: bool,
    endpoint: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Run PIPELINE on the cluster and follow the run until it ends.

    A new version of the pipeline is uploaded first if KFP has none with the same content. The exit code is 0 only if
    the run succeeded. Ctrl-C stops following; the run continues.
    """
    from pipelines.backend import check_gpus, compiled, connect
    from pipelines.backend import submit as submit_run
    from pipelines.parts import load_resources

    parameters = _parameters(pipeline, assignments)
    resources = load_resources(profile, settings)
    made = compiled(pipeline, resources, profile=profile, settings=settings)
    api = connect(endpoint, namespace)
    cluster = _cluster(namespace)
    if gpu_check:
        check_gpus(cluster, endpoint, resources, made.steps)
    submitted = submit_run(api, made, parameters, experiment=experiment)
    facts = submitted.facts(api)
    if as_json and not wait:
        print_json(facts)
    say = _quiet if as_json else click.echo
    say(f"{pipeline} {facts['version']} ({'uploaded' if facts['version_is_new'] else 'unchanged'})")
    say(f"Run {facts['run_id']}" + (f" · {facts['ui']}" if facts["ui"] else ""))
    if submitted.uploaded.is_new:
        _report_schedules(api, pipeline, submitted.uploaded.pipeline_id, is_meant=False)
    if wait:
        with _continues_after_interrupt(facts["run_id"], as_json=as_json):
            _follow(api, facts["run_id"], cluster, as_json=as_json)
    else:
        say(f"Follow it with `recycle runs show {facts['run_id']}`.")


@click.command()
@click.argument("pipelines", nargs=-1)
@resource_options
@where
@JSON
@report_errors
def upload(
    pipelines: tuple[str, ...],
    profile: str,
    settings: tuple[str, ...],
    endpoint: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Upload PIPELINES (default: all of them), for KFP's UI and for schedules.

    Nothing is uploaded where the newest version on KFP has the same content already.
    """
    from pipelines.backend import compiled, connect
    from pipelines.backend import upload as upload_version
    from pipelines.parts import PIPELINES, load_resources

    resources = load_resources(profile, settings)
    made = [compiled(name, resources, profile=profile, settings=settings) for name in pipelines or PIPELINES]
    api = connect(endpoint, namespace)
    uploaded = {one.name: upload_version(api, one, as_newest=True) for one in made}
    for name, one in uploaded.items():
        if one.is_new:
            _report_schedules(api, name, one.pipeline_id, is_meant=True)
    if as_json:
        print_json({name: {"version": one.version.name, "is_new": one.is_new} for name, one in uploaded.items()})
        return
    for name, one in uploaded.items():
        click.echo(f"{name} {one.version.name} ({'uploaded' if one.is_new else 'unchanged'})")


class WithDefault(click.Group):
    """A group of commands of which one is the default: it gets arguments that begin with no command."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:  # noqa: ANN401 - whatever click passes
        super().__init__(*args, **kwargs)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before its arguments."""
        known = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if known else [self._default, *args])


@click.group(cls=WithDefault, default="create", subcommand_metavar="PIPELINE --cron '0 6 * * *' | COMMAND [ARGS]...")
def schedule() -> None:
    """Run the newest version of a pipeline on a schedule, one run at a time.

    `recycle schedule PIPELINE --cron '0 6 * * *'` makes a schedule; `recycle schedule create --help` lists its options.
    Times are in UTC.
    """


@schedule.command("create")
@click.argument("pipeline")
@click.option("--cron", required=True, help="When, in UTC: minute, hour, day of the month, month, day of the week.")
@PARAMETERS
@click.option("--name", help="Name of the schedule [default: recycle-PIPELINE].")
@click.option("--replace", is_flag=True, help="Replace the schedule of that name.")
@EXPERIMENT
@where
@JSON
@report_errors
def create_schedule(
    pipeline: str,
    cron: str,
    assignments: tuple[str, ...],
    name: str | None,
    replace: bool,
    experiment: str,
    endpoint: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Make a schedule for PIPELINE, which must have been uploaded before."""
    from pipelines.backend import connect, parse_cron
    from pipelines.backend import schedule as schedules

    when = parse_cron(cron)
    parameters = _parameters(pipeline, assignments)
    made = schedules.create(
        connect(endpoint, namespace),
        pipeline,
        when,
        parameters,
        name=name or f"recycle-{pipeline}",
        experiment=experiment,
        replace=replace,
    )
    if as_json:
        print_json(made.facts())
        return
    due = f"{made.next_run:%A %Y-%m-%d %H:%M} UTC" if made.next_run else "not known"
    click.echo(f"Schedule {made.recurring.display_name}: {pipeline}, its newest version, at '{made.cron}' (UTC)")
    click.echo(f"Next run: {due}")


@schedule.command("list")
@where
@JSON
@report_errors
def list_schedules(endpoint: str | None, namespace: str, as_json: bool) -> None:
    """List the schedules and their next runs."""
    from pipelines.backend import connect
    from pipelines.backend import schedule as schedules

    found = schedules.list_schedules(connect(endpoint, namespace))
    if as_json:
        print_json({"schedules": [one.facts() for one in found]})
        return
    click.echo(schedules.listing(found))


def _changing(command: str, action: str, done: str, explained: str) -> None:
    @schedule.command(command, help=explained)
    @click.argument("name")
    @where
    @JSON
    @report_errors
    def change(name: str, endpoint: str | None, namespace: str, as_json: bool) -> None:
        from pipelines.backend import connect
        from pipelines.backend import schedule as schedules

        schedules.change(connect(endpoint, namespace), name, action)
        if as_json:
            print_json({"name": name, "done": done})
            return
        click.echo(f"Schedule {name}: {done}")


_changing("pause", "disable", "paused", "Start no more runs until `resume`.")
_changing("resume", "enable", "resumed", "Start runs again; those missed meanwhile are not made up for.")
_changing("delete", "delete", "deleted", "Delete a schedule; its runs stay.")


@click.group(cls=WithDefault, default="list", subcommand_metavar="[--limit N] | COMMAND [ARGS]...")
def runs() -> None:
    """List the newest runs on the cluster, or show or stop one."""


@runs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs to list.")
@where
@JSON
@report_errors
def list_runs(limit: int, endpoint: str | None, namespace: str, as_json: bool) -> None:
    """List the newest runs, whoever started them."""
    from pipelines.backend import connect
    from pipelines.backend import runs as found

    listed = found.list_runs(connect(endpoint, namespace), limit)
    if as_json:
        print_json({"runs": [one.facts() for one in listed]})
        return
    click.echo(found.listing(listed))


@runs.command("show")
@click.argument("run")
@where
@JSON
@report_errors
def show_run(run: str, endpoint: str | None, namespace: str, as_json: bool) -> None:
    """Show RUN, given by its id, and follow it until it ends. The exit code is 0 only if it succeeded."""
    from pipelines.backend import connect, get_run

    api = connect(endpoint, namespace)
    found = get_run(api, run)
    if not as_json:
        click.echo(f"{found.display_name} · {found.shown_state}")
    with _continues_after_interrupt(run, as_json=as_json):
        _follow(api, run, _cluster(namespace), as_json=as_json)


@runs.command("stop")
@click.argument("run")
@where
@JSON
@report_errors
def stop(run: str, endpoint: str | None, namespace: str, as_json: bool) -> None:
    """Stop RUN, given by its id. What its steps have saved is kept, and later runs reuse it."""
    from pipelines.backend import connect, stop_run

    stopped = stop_run(connect(endpoint, namespace), run)
    if as_json:
        print_json({"run_id": run, "stopped": stopped})
        return
    click.echo(f"Run {run} {'is being stopped' if stopped else 'has ended already'}.")


def _parameters(pipeline: str, assignments: tuple[str, ...]) -> dict[str, Any]:
    from pipelines.backend import check_templates
    from pipelines.parts import load_pipeline, parse_parameters

    parameters = parse_parameters(pipeline, assignments)
    check_templates(parameters)
    load_pipeline(pipeline).check(parameters, here=False)
    return parameters


def _cluster(namespace: str) -> "Cluster | None":
    from pipelines.backend import NotSeen, connect_cluster

    try:
        return connect_cluster(namespace)
    except NotSeen:
        return None


def _report_schedules(api: "Api", pipeline: str, pipeline_id: str, *, is_meant: bool) -> None:
    """Name the schedules that a new version changes, and those whose runs it makes fail.

    Args:
        api: where.
        pipeline: its name.
        pipeline_id: its id.
        is_meant: whether the version was uploaded for them, so that it is no surprise that they run it.
    """
    from pipelines.backend import taking_newest
    from pipelines.parts import parse_parameters

    schedules = taking_newest(api, pipeline_id)
    if schedules and not is_meant:
        click.echo(
            f"These schedules now run this version: {', '.join(one.display_name for one in schedules)}. To have them "
            f"run another, upload it: `recycle upload {pipeline}` with its --resources and --set.",
            err=True,
        )
    known = parse_parameters(pipeline, [])
    for one in schedules:
        # KFP's API server refuses parameters that the pipeline does not have; those that it has all have defaults.
        if gone := sorted(one.runtime_config.parameters.keys() - known.keys()):
            click.echo(
                f"The schedule {one.display_name} sets {', '.join(gone)}, which {pipeline} no longer has, so KFP will "
                f"refuse its runs. Make it again with `recycle schedule {pipeline} --name {one.display_name} "
                "--replace`.",
                err=True,
            )


def _follow(api: "Api", run_id: str, cluster: "Cluster | None", *, as_json: bool) -> None:
    from pipelines.backend import follow

    result: RunResult = follow(api, run_id, _quiet if as_json else click.echo, cluster)
    click.echo(result.to_json() if as_json else "\n" + "\n".join(result.lines()))


def _quiet(line: str) -> None:
    """Ignore a line, where only JSON is to be printed."""


@contextmanager
def _continues_after_interrupt(run_id: str, *, as_json: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        hint = f"follow it with `recycle runs show {run_id}`, stop it with `recycle runs stop {run_id}`"
        if as_json:
            print_json({"error": "KeyboardInterrupt", "problem": "the run continues on the cluster", "do": hint})
        click.echo(f"\nThe run continues on the cluster: {hint}.", err=True)
        sys.exit(130)
