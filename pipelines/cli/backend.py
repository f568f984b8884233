"""The commands for Kubeflow Pipelines: `recycle submit`, `upload`, `schedule` and `runs`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import JSON, PARAMETERS, print_json, resource_options, told

if TYPE_CHECKING:
    from pipelines.backend import Api, Cluster
    from pipelines.local import RunResult

EXPERIMENT = click.option(
    "--experiment", default="recycle", show_default=True, help="KFP's experiment that the runs are put in."
)


def where(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: which Kubeflow Pipelines is meant."""
    options = [
        click.option(
            "--endpoint",
            envvar=["KF_PIPELINES_ENDPOINT", "KFP_ENDPOINT"],
            show_envvar=True,
            help="Address of the KFP API, such as http://localhost:8888; without one, KFP is reached through the "
            "cluster that kubectl uses. A token is taken from KFP_EXISTING_TOKEN.",
        ),
        click.option(
            "--namespace",
            envvar="KFP_NAMESPACE",
            show_envvar=True,
            default="kubeflow",
            show_default=True,
            help="Where KFP runs; in a KFP of many users, your own.",
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
@click.option("--wait/--no-wait", default=True, help="Follow the run until it ends.")
@click.option(
    "--gpu-check/--no-gpu-check",
    default=True,
    show_default=True,
    help="Refuse to start if no node of the cluster has the GPUs asked for; switch it off where nodes are added on "
    "demand.",
)
@where
@JSON
@told
def submit(
    pipeline: str,
    assignments: tuple[str, ...],
    profile: str,
    settings: tuple[str, ...],
    caching: bool,
    experiment: str,
    wait: bool,
    gpu_check: bool,
    endpoint: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Run PIPELINE on the cluster, and follow it.

    A new version of the pipeline is uploaded if KFP does not have it as it is here. The exit code is 0 where the run
    succeeded. Ctrl-C leaves it running.
    """
    from pipelines.backend import check_gpus, compiled, connect
    from pipelines.backend import submit as submit_run
    from pipelines.parts import load_pipeline, load_resources, parse_parameters

    parameters = parse_parameters(pipeline, assignments)
    load_pipeline(pipeline).check(parameters, here=False)
    resources = load_resources(profile, settings, caching=caching)
    made = compiled(pipeline, resources)
    api = connect(endpoint, namespace)
    cluster = _cluster(namespace)
    if gpu_check:
        check_gpus(cluster, endpoint, resources, made.steps)
    submitted = submit_run(api, made, parameters, experiment=experiment)
    facts = submitted.facts(api)
    if as_json and not wait:
        print_json(facts)
    say = _quiet if as_json else click.echo
    say(f"{pipeline} {facts['version']} ({'uploaded' if facts['version_is_new'] else 'as before'})")
    say(f"Run {facts['run_id']}" + (f" · {facts['ui']}" if facts["ui"] else ""))
    if submitted.uploaded.is_new:
        _tell_schedules(api, pipeline, submitted.uploaded.pipeline_id, is_meant=False)
    if wait:
        with _goes_on(facts["run_id"], as_json=as_json):
            _follow(api, facts["run_id"], cluster, as_json=as_json)
    else:
        say(f"Follow it with `recycle runs show {facts['run_id']}`.")


@click.command()
@click.argument("pipelines", nargs=-1)
@resource_options
@where
@JSON
@told
def upload(
    pipelines: tuple[str, ...],
    profile: str,
    settings: tuple[str, ...],
    caching: bool,
    endpoint: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Upload PIPELINES, or all of them, for KFP's UI and for schedules.

    A pipeline whose newest version on KFP is what it is here is left alone.
    """
    from pipelines.backend import compiled, connect
    from pipelines.backend import upload as upload_version
    from pipelines.parts import PIPELINES, load_resources

    resources = load_resources(profile, settings, caching=caching)
    made = [compiled(name, resources) for name in pipelines or PIPELINES]
    api = connect(endpoint, namespace)
    uploaded = {one.name: upload_version(api, one, as_newest=True) for one in made}
    for name, one in uploaded.items():
        if one.is_new:
            _tell_schedules(api, name, one.pipeline_id, is_meant=True)
    if as_json:
        print_json({name: {"version": one.version.name, "is_new": one.is_new} for name, one in uploaded.items()})
        return
    for name, one in uploaded.items():
        click.echo(f"{name} {one.version.name} ({'uploaded' if one.is_new else 'as before'})")


class WithDefault(click.Group):
    """A group that takes what begins with none of its commands as arguments of one of them."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:  # noqa: ANN401 - whatever click passes
        super().__init__(*args, **kwargs)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command before its arguments."""
        known = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if known else [self._default, *args])


@click.group(cls=WithDefault, default="create", subcommand_metavar="PIPELINE --cron '0 6 * * *' | COMMAND [ARGS]...")
def schedule() -> None:
    """Run a pipeline again and again: its newest version, one run at a time, at times in UTC.

    `recycle schedule PIPELINE --cron '0 6 * * *'` makes a schedule; `recycle schedule create --help` lists its options.
    """


@schedule.command("create")
@click.argument("pipeline")
@click.option("--cron", required=True, help="When, in UTC: minute, hour, day of the month, month, day of the week.")
@PARAMETERS
@click.option("--name", help="The schedule's [default: recycle-PIPELINE].")
@click.option("--replace", is_flag=True, help="Take the place of the schedule of that name.")
@EXPERIMENT
@where
@JSON
@told
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
    """Make a schedule for PIPELINE, which was uploaded before."""
    from pipelines.backend import connect, parse_cron
    from pipelines.backend import schedule as schedules
    from pipelines.parts import load_pipeline, parse_parameters

    when = parse_cron(cron)
    parameters = parse_parameters(pipeline, assignments)
    load_pipeline(pipeline).check(parameters, here=False)
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
@told
def list_schedules(endpoint: str | None, namespace: str, as_json: bool) -> None:
    """List the schedules, with when they are due next."""
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
    @told
    def change(name: str, endpoint: str | None, namespace: str, as_json: bool) -> None:
        from pipelines.backend import connect
        from pipelines.backend import schedule as schedules

        schedules.change(connect(endpoint, namespace), name, action)
        if as_json:
            print_json({"name": name, "done": done})
            return
        click.echo(f"Schedule {name}: {done}")


_changing("pause", "disable", "paused", "Start no runs until `resume`.")
_changing("resume", "enable", "goes on", "Go on; what was due meanwhile is left out.")
_changing("delete", "delete", "deleted", "Remove a schedule; its runs stay.")


@click.group(cls=WithDefault, default="list", subcommand_metavar="[--limit N] | COMMAND [ARGS]...")
def runs() -> None:
    """List the newest runs on the cluster, or show or stop one."""


@runs.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@where
@JSON
@told
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
@told
def show_run(run: str, endpoint: str | None, namespace: str, as_json: bool) -> None:
    """Show RUN and follow it until it ends; the exit code is 0 where it succeeded."""
    from pipelines.backend import connect, get_run

    api = connect(endpoint, namespace)
    found = get_run(api, run)
    if not as_json:
        click.echo(f"{found.display_name} · {found.told_state}")
    with _goes_on(run, as_json=as_json):
        _follow(api, run, _cluster(namespace), as_json=as_json)


@runs.command("stop")
@click.argument("run")
@where
@JSON
@told
def stop(run: str, endpoint: str | None, namespace: str, as_json: bool) -> None:
    """Stop RUN; what its steps have saved stays and is reused by the next one."""
    from pipelines.backend import connect, stop_run

    stopped = stop_run(connect(endpoint, namespace), run)
    if as_json:
        print_json({"run_id": run, "stopped": stopped})
        return
    click.echo(f"Run {run} {'is being stopped' if stopped else 'had ended already'}.")


def _cluster(namespace: str) -> "Cluster | None":
    from pipelines.backend import NotSeen, connect_cluster

    try:
        return connect_cluster(namespace)
    except NotSeen:
        return None


def _tell_schedules(api: "Api", pipeline: str, pipeline_id: str, *, is_meant: bool) -> None:
    """Name the schedules that a new version changes, and those that it ends.

    Args:
        api: where.
        pipeline: its name.
        pipeline_id: its id.
        is_meant: whether the version was uploaded for them, so that their taking it needs no word.
    """
    from pipelines.backend import taking_newest
    from pipelines.parts import parse_parameters

    schedules = taking_newest(api, pipeline_id)
    if schedules and not is_meant:
        click.echo(
            f"Schedules {', '.join(one.display_name for one in schedules)} now run this version; `recycle upload "
            f"{pipeline}` with other --resources and --set puts another back.",
            err=True,
        )
    known = parse_parameters(pipeline, [])
    for one in schedules:
        # KFP's API server takes no parameter that the pipeline does not have; those that it has all have defaults.
        if gone := sorted(one.runtime_config.parameters.keys() - known.keys()):
            click.echo(
                f"The schedule {one.display_name} sets {', '.join(gone)}, which {pipeline} does not have any more, so "
                f"that KFP refuses its runs: make it again with `recycle schedule {pipeline} --name "
                f"{one.display_name} --replace`.",
                err=True,
            )


def _follow(api: "Api", run_id: str, cluster: "Cluster | None", *, as_json: bool) -> None:
    from pipelines.backend import follow

    result: RunResult = follow(api, run_id, _quiet if as_json else click.echo, cluster)
    click.echo(result.to_json() if as_json else "\n" + "\n".join(result.lines()))


def _quiet(line: str) -> None:
    """Say nothing."""


@contextmanager
def _goes_on(run_id: str, *, as_json: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        hint = f"follow it with `recycle runs show {run_id}`, stop it with `recycle runs stop {run_id}`"
        if as_json:
            print_json({"error": "KeyboardInterrupt", "problem": "the run goes on on the cluster", "do": hint})
        click.echo(f"\nThe run goes on on the cluster: {hint}.", err=True)
        sys.exit(130)
