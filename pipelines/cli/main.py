"""The command line. Imports that cost time stand in the commands that need them."""

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import click

from components import __version__
from components.errors import BadParameter
from pipelines.cli.backend import runs, schedule, submit, upload
from pipelines.cli.options import JSON, PARAMETERS, print_json, report_errors, resource_options

CONTEXT = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="recycle")
def main() -> None:
    """Move a fine-tune onto a new base release without training, judge the result and register it.

    A CHECKPOINT is a folder, a checkpoint.json that Recycle wrote, owner/name@revision on the hub,
    family:release (see `recycle families`), s3://bucket/prefix, models:/name@alias, or demo:NAME.
    """


for command in (submit, upload, schedule, runs):
    main.add_command(command)


@main.command()
@click.argument("pipeline")
@PARAMETERS
@JSON
@report_errors
def run(pipeline: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Run PIPELINE on this machine.

    PIPELINE is recycle, finetune-and-recycle, recycle-then-finetune, iterative, grid or watch.
    """
    from pipelines.local import run_pipeline
    from pipelines.parts import parse_parameters

    parameters = parse_parameters(pipeline, assignments)
    result = run_pipeline(pipeline, parameters, say=(lambda line: None) if as_json else click.echo)
    if as_json:
        click.echo(result.to_json())
        return
    click.echo("\n" + "\n".join(result.lines()))


@main.command("compile")
@click.argument("pipeline")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write [default: PIPELINE.yaml].")
@resource_options
@report_errors
def compile_pipeline(pipeline: str, output: Path | None, profile: str, settings: tuple[str, ...]) -> None:
    """Compile PIPELINE to a YAML file that can be uploaded in KFP's UI, and print the file's path."""
    from kfp import compiler

    from components.system import disk_errors
    from pipelines.parts import load_pipeline, load_resources

    path = output or Path(f"{pipeline}.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise BadParameter(
            f"{path} is not the name of a .yaml file, the only kind that KFP takes",
            hint="give a name that ends in .yaml",
        )
    made = load_pipeline(pipeline).build(load_resources(profile, settings))
    with disk_errors(path):
        compiler.Compiler().compile(made, str(path))
    click.echo(path)


@main.command()
@JSON
@report_errors
def families(as_json: bool) -> None:
    """List the known model families: releases to name as family:release, and published transfers between them."""
    from pipelines.cli.families import facts, listing

    if as_json:
        print_json(facts())
        return
    click.echo(listing())


def three_checkpoints(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator: the arguments and options that `transfer` and `plan` share."""
    options = [
        click.argument("source_base"),
        click.argument("source_tuned"),
        click.argument("target_base"),
        click.option(
            "--scale",
            default="1.0",
            show_default=True,
            help="Factor λ on the weight change: a number, or rules by tensor name such as '*.mlp.*=0.8,*=1.0'.",
        ),
        click.option(
            "--dtype",
            default="auto",
            show_default=True,
            help="Data type that all three checkpoints are cast to before the arithmetic: auto (the fine-tuned "
            "model's own), bfloat16, float16, float32, or stored (no cast).",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@main.command()
@three_checkpoints
@JSON
@report_errors
def plan(source_base: str, source_tuned: str, target_base: str, scale: str, dtype: str, as_json: bool) -> None:
    """Check whether a transfer is possible and what it costs, from headers and a sample of the weights."""
    from components.planning import TransferRequest, preview_transfer
    from components.transfer import parse_scale

    request = TransferRequest(
        source_base=source_base,
        source_tuned=source_tuned,
        target_base=target_base,
        scale=parse_scale(scale),
        dtype=dtype,
    )
    found = preview_transfer(request)
    if as_json:
        print_json({"compatible": True, **found.facts()})
        return
    click.echo("Compatible.")
    for name, value in found.facts().items():
        click.echo(f"  {name:18} {value}")


@main.command()
@three_checkpoints
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--memory",
    envvar="RECYCLE_MEMORY",
    default="512MB",
    show_default=True,
    help="How much memory the buffers may take.",
)
@click.option(
    "--verify/--no-verify",
    "verified",
    default=None,
    help="Check inputs that have a manifest against it while they are read [default: only inputs in s3://].",
)
@JSON
@report_errors
def transfer(
    source_base: str,
    source_tuned: str,
    target_base: str,
    output: Path,
    scale: str,
    dtype: str,
    memory: str,
    verified: bool | None,
    as_json: bool,
) -> None:
    """Write TARGET_BASE + λ·(SOURCE_TUNED − SOURCE_BASE) to the folder OUTPUT."""
    from components.units import parse_bytes
    from pipelines.cli.transfer import transfer_references

    warnings: list[str] = []
    notes: list[str] = []

    def remark(kind: str, to: list[str], text: str) -> None:
        to.append(text)
        if not as_json:
            click.echo(f"{kind}: {text}", err=True)

    made, measured = transfer_references(
        source_base=source_base,
        source_tuned=source_tuned,
        target_base=target_base,
        output=output,
        scale=scale,
        dtype=dtype,
        memory=parse_bytes(memory),
        verified=verified,
        warn=partial(remark, "WARNING", warnings),
        note=partial(remark, "note", notes),
    )
    summary = measured.summary() if measured else {}
    if as_json:
        done = {"already_done": measured is None, "checkpoint": made.model_dump(), "statistics": summary}
        print_json(done | {"warnings": warnings, "notes": notes})
        return
    click.echo(f"{output} {'already holds this result' if measured is None else 'written'}, digest {made.digest}")
    for name, value in summary.items():
        click.echo(f"  {name:24} {value:.6g}")


@main.command()
@click.argument("checkpoint")
@JSON
@report_errors
def verify(checkpoint: str, as_json: bool) -> None:
    """Read every byte of CHECKPOINT and compare it with its manifest."""
    from pipelines.cli.transfer import verify_reference

    found, recorded, nonfinite = verify_reference(checkpoint)
    if as_json:
        print_json({"verified": recorded, "checkpoint": found.model_dump(), "nonfinite": nonfinite})
        return
    click.echo(f"{found.name}: {len(found.files)} files, {found.parameters:,} parameters, digest {found.digest}")
    for tensor, count in nonfinite.items():
        click.echo(f"WARNING: {count:,} weights of {tensor} are NaN or infinite", err=True)
    click.echo("Every file matches the manifest." if recorded else "Sound; there is no manifest to compare with.")


@main.command()
@JSON
@report_errors
def demo(as_json: bool) -> None:
    """Train a few tiny releases, recycle a fine-tune onto a new one, and show a case where it cannot work."""
    from pipelines.cli.demo import run_demo

    run_demo(say=(lambda line: None) if as_json else click.echo, show=print_json if as_json else None)


@main.group()
def store() -> None:
    """List, verify and clean up the checkpoint store."""


@store.command("ls")
@JSON
@report_errors
def list_store(as_json: bool) -> None:
    """List the checkpoints with their sizes, and which was made from which."""
    from components.store import open_store
    from pipelines.cli.store import Contents, facts, listing, size_of

    contents = Contents.of(open_store())
    if as_json:
        checkpoints = list(contents.checkpoints.values())
        print_json(
            {
                "store": contents.store.uri,
                "bytes": sum(size_of(checkpoint) for checkpoint in checkpoints),
                "checkpoints": [facts(contents, checkpoint) for checkpoint in checkpoints],
                "damaged": {digest: error.problem for digest, error in contents.damaged.items()},
            }
        )
    else:
        click.echo(listing(contents))
    for error in contents.damaged.values():
        click.echo(f"Error: {error}", err=True)
    sys.exit(1 if contents.damaged else 0)


@store.command()
@click.argument("digest")
@JSON
@report_errors
def show(digest: str, as_json: bool) -> None:
    """Show the checkpoint whose digest begins with DIGEST: files, origin, and what was made from it."""
    from components.store import open_store
    from pipelines.cli.store import Contents, description, facts

    contents = Contents.of(open_store())
    checkpoint = contents.chosen(digest)
    if as_json:
        print_json({**facts(contents, checkpoint), "manifest": checkpoint.model_dump()})
        return
    click.echo(description(contents, checkpoint))


@store.command("verify")
@click.argument("digests", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Verify every checkpoint of the store.")
@JSON
@report_errors
def verify_store(digests: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Read every byte of checkpoints and compare it with their manifests. DIGESTS are beginnings of their digests."""
    from components.store import open_store
    from pipelines.cli.store import Contents, verdicts_text, verify_in_store

    if everything == bool(digests):
        raise BadParameter("neither digests nor --all was given, or both", hint="give digests, or --all")
    contents = Contents.of(open_store())
    verdicts = verify_in_store(contents, digests)
    damaged = [verdict for verdict in verdicts if verdict.problem]
    if as_json:
        rows = [{"digest": one.digest, "name": one.name, "problem": one.problem or None} for one in verdicts]
        print_json({"store": contents.store.uri, "verified": not damaged, "checkpoints": rows})
    else:
        click.echo(verdicts_text(verdicts))
    sys.exit(1 if damaged else 0)


@store.command()
@click.option("--delete", is_flag=True, help="Remove what is found, instead of only listing it.")
@click.option(
    "--older-than",
    default="24h",
    show_default=True,
    help="Keep what was written more recently than this: 90s, 30m, 24h, 7d.",
)
@JSON
@report_errors
def gc(delete: bool, older_than: str, as_json: bool) -> None:
    """List what interrupted work left in the store and no manifest refers to; remove it with --delete."""
    from components.store import open_store
    from components.units import parse_duration
    from pipelines.cli.store import collect, garbage_facts, garbage_text

    age = timedelta(seconds=parse_duration(older_than, "--older-than"))
    opened = open_store()
    collected = collect(opened, age, delete=delete)
    if as_json:
        things = [garbage_facts(one) for one in collected]
        print_json({"store": opened.uri, "older_than_s": int(age.total_seconds()), "garbage": things})
    else:
        click.echo(garbage_text(collected, opened.uri, delete=delete))
    sys.exit(1 if any(one.problem for one in collected) else 0)


if __name__ == "__main__":
    main()
