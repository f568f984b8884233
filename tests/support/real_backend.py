"""`kfp.local` made to hand parameters and artifacts on as the driver and the launcher of Kubeflow Pipelines 2.17 do.

The local runner is more generous than a cluster, so that a pipeline can run on a laptop and fail, or be wrong, there.
Each rule names its source in https://github.com/kubeflow/pipelines at the tag 2.17.0, under backend/src/v2; its test is
in test_real_backend.py. `recycle run` follows them where tests/support/startup is on PYTHONPATH:

    environment = os.environ | real_backend.environment()
    subprocess.run([*COMMAND, "run", "grid"], env=environment)

The tests of the pipelines do so, see tests/pipelines/conftest.py.
"""

import os
from functools import wraps
from pathlib import Path

from google.protobuf import json_format, struct_pb2
from kfp import dsl
from kfp.local import executor_input_utils, executor_output_utils, task_dispatcher
from kfp.local.orchestrator import task_spec_utils
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.pipeline_spec import pipeline_spec_pb2 as spec

ROOT = Path(__file__).parents[2]
STARTUP = Path(__file__).parent / "startup"
"""Python imports the `sitecustomize` in it when it starts; that one calls `apply` where kfp.local is to run."""

KINDS = {
    spec.ParameterType.NUMBER_DOUBLE: (int, float),
    spec.ParameterType.NUMBER_INTEGER: (int, float),
    spec.ParameterType.BOOLEAN: (bool,),
    spec.ParameterType.LIST: (list,),
    spec.ParameterType.STRUCT: (dict,),
}
"""What a parameter of each type may be; a text may be anything."""


class DiffersFromBackend(Exception):
    """What KFP's back end would fail with where its local runner goes on."""


def environment():
    """Variables with which a Python program that runs pipelines does so by these rules."""
    path = os.pathsep.join([str(STARTUP), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path}


def apply():
    """Have `kfp.local` follow the rules from now on in this process."""
    for module, name, change in (
        (executor_input_utils, "dsl_artifact_to_artifact_list", _as_from_metadata_store),
        (executor_input_utils, "construct_executor_input", _with_checked_parameters),
        (executor_output_utils, "get_outputs_for_task", _with_checked_artifacts),
        (task_spec_utils, "build_nested_dag_arguments", _with_one_artifact_a_name),
        (task_spec_utils, "evaluate_parameter_expression", _strict_selection),
        (OrchestratorUtils, "_apply_expression_selector", _strict_selection),
    ):
        setattr(module, name, change(getattr(module, name)))
    assert task_dispatcher.executor_input_utils is executor_input_utils


def _as_from_metadata_store(original):
    """An artifact comes back from the metadata store without its type's title and under a number for a name
    (metadata/client.go, OutputArtifact.ToRuntimeArtifact; metadata/converter.go, toRuntimeArtifact), so that the
    executor makes an instance of what is annotated. Of its metadata, bools are numbers then, and lists and dicts
    are wrapped (metadata/converter.go, StructValueToMLMDValue).
    """

    @wraps(original)
    def changed(artifact):
        artifacts = original(artifact)
        for number, one in enumerate(artifacts.artifacts, start=1):
            one.name = str(number)
            one.type.CopyFrom(spec.ArtifactTypeSchema(instance_schema=""))
            for key, value in one.metadata.fields.items():
                value.CopyFrom(_stored(key, value))
        return artifacts

    return changed


def _stored(key, value):
    kind = value.WhichOneof("kind")
    if kind == "null_value":
        raise DiffersFromBackend(f"the metadata {key!r} of an artifact is None: unknown/unsupported value type")
    if kind == "bool_value":
        return struct_pb2.Value(number_value=value.bool_value)
    if kind in ("list_value", "struct_value"):
        inner = {"list_value": "list", "struct_value": "struct"}[kind]
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields={inner: value}))
    return value


def _with_one_artifact_a_name(original):
    """Into a nested graph, be it a pipeline, a loop or a condition, goes the last artifact of a list alone, and one
    artifact under one name alone (metadata/client.go, GetInputArtifactsByExecutionID).
    """

    @wraps(original)
    def changed(*args, **kwargs):
        found = original(*args, **kwargs)
        names = {}
        for name, value in found.items():
            if isinstance(value, list) and value and isinstance(value[0], dsl.Artifact):
                found[name] = value[-1:]
            if isinstance(value, dsl.Artifact) and names.setdefault(value.uri, name) != name:
                raise DiffersFromBackend(f"parent DAG does not have input artifact {names[value.uri]}")
        return found

    return changed


def _with_checked_parameters(original):
    """The driver refuses a parameter of another type than the component's, and makes a text of what is given for one
    (driver/resolve.go, handleParamTypeValidationAndConversion).
    """

    @wraps(original)
    def changed(component_spec, arguments, **kwargs):
        checked = dict(arguments)
        for name, definition in component_spec.input_definitions.parameters.items():
            if name not in checked:
                continue
            value, kind = checked[name], definition.parameter_type
            if kind == spec.ParameterType.STRING and not isinstance(value, str):
                checked[name] = _text(value)
            elif kind in KINDS and (
                not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and bool not in KINDS[kind])
            ):
                expected = spec.ParameterType.ParameterTypeEnum.Name(kind)
                raise DiffersFromBackend(f"input parameter {name!r} type mismatch: expect {expected}, got {value!r}")
        return original(component_spec=component_spec, arguments=checked, **kwargs)

    return changed


def _text(value):
    """metadata/converter.go, PbValueToText."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{value:.15f}".rstrip("0").rstrip(".")
    message = struct_pb2.Struct(fields={"": struct_pb2.Value()})
    json_format.ParseDict({"": value}, message)
    return json_format.MessageToJson(message.fields[""], indent=None)


def _with_checked_artifacts(original):
    """The launcher fails a step whose artifact is not below the run's root (component/launcher_v2.go,
    uploadOutputArtifacts) or has None in its metadata (metadata/converter.go, StructValueToMLMDValue).
    """

    @wraps(original)
    def changed(executor_input, component_spec):
        outputs = original(executor_input=executor_input, component_spec=component_spec)
        for name, made in outputs.items():
            if not isinstance(made, dsl.Artifact):
                continue
            (given,) = executor_input.outputs.artifacts[name].artifacts
            if not made.uri.startswith(str(Path(given.uri).parent)):
                raise DiffersFromBackend(f"{name}: {made.uri} does not have expected bucket prefix")
            for key, value in made.metadata.items():
                if value is None:
                    raise DiffersFromBackend(f"{name}: the metadata {key!r}: unknown/unsupported value type")
        return outputs

    return changed


def _strict_selection(original):
    """A field of a loop's item that is not there is an error (expression/expression.go, Select); the local runner
    hands the whole item on in its place.
    """

    @wraps(original)
    def changed(*args):
        item, expression = args[-2:]
        found = original(*args)
        if '["' in expression and found == item:
            raise DiffersFromBackend(f"evaluation of parameter expression selector {expression!r} failed for {item!r}")
        return found

    return changed
