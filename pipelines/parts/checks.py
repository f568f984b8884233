"""What pipelines refuse before their first step starts.

A check gets all parameters of its pipeline and whether the steps run `here`, on this machine, so that what they need
must be on it. It raises BadParameter for a value that cannot be, or a file that is not what it must be.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from components.evaluate import check_harness, load_suite
from components.finetune import check_dataset, check_trainer, load_recipe
from components.planning import BasesRequest, Request, TransferRequest, parse_bases, quick_suite
from components.transfer import parse_scale
from components.units import parse_duration
from components.watch import check_watch


def check_recycling(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in a later step of `recycle`."""
    request = TransferRequest(**_given(TransferRequest, parameters)).complete()
    _check(request, parameters, here=here)
    if request.scale_search:
        load_suite(quick_suite(request.suite))


def check_finetuning(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in a later step of `finetune-and-recycle`."""
    request = TransferRequest(**_given(TransferRequest, parameters), finetunes=True)
    _check(request.complete(), parameters, here=here)


def check_lengths(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in a later step of `recycle-then-finetune`."""
    request = TransferRequest(**_given(TransferRequest, parameters), continues=True)
    _check(request.complete(), parameters, here=here)


def check_chain(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in a later step of `iterative`."""
    _check(_of_bases(parameters, chain=True), parameters, here=here)


def check_grid(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in a later step of `grid`."""
    _check(_of_bases(parameters, chain=False), parameters, here=here)


def check_watching(parameters: Mapping[str, Any], *, here: bool) -> None:
    """Refuse what would fail in a later step of a tick of `watch`."""
    watched = ("releases", "source_base", "source_tuned", "suite")
    check_watch(**{name: parameters[name] for name in watched})
    parse_duration(parameters["retry_after"], "retry_after", at_least=1)
    _check(TransferRequest(**_given(TransferRequest, parameters)), parameters, here=here)


def _given(kind: type[Request], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a pipeline's parameters that a request has, with the scale read."""
    names = {field.name for field in fields(kind)}
    given = {name: value for name, value in parameters.items() if name in names}
    return given | {"scale": parse_scale(parameters["scale"])}


def _of_bases(parameters: Mapping[str, Any], *, chain: bool) -> BasesRequest:
    given = _given(BasesRequest, parameters) | {"bases": parse_bases(parameters["bases"])}
    return BasesRequest(**given, chain=chain).complete()


def _check(request: Request, parameters: Mapping[str, Any], *, here: bool) -> None:
    request.check()
    if here:
        check_harness(load_suite(request.suite))
    if here and request.recipe:
        loaded = load_recipe(request.recipe)
        check_trainer(loaded)
        check_dataset(parameters["dataset"] or loaded.dataset)
