"""How many bytes of an Argo Workflow a compiled pipeline's steps come to on a Kubeflow Pipelines of `manifests/kfp`.

Argo writes each step down as six nodes, and each node with its inputs and outputs: what KFP's driver is given, and the
patch of the pod that it answers with, in which the values of the run stand escaped within one another. Above 1 MiB
(`MAX_WORKFLOW_SIZE`) the nodes are compressed, and KFP's API shows a run's steps no more. Nodes are built here as they
are in recorded Workflows of KFP 2.17.0 and Argo 4.0.5, where test_workflow_size.py compares them:

    spec, platform = yaml.safe_load_all(compiled)
    measure(spec, platform, Values(text="x" * 60))["evaluate"]  # bytes
"""

import json
from dataclasses import dataclass

RUN = "0" * 36
SESSION = {
    "Provider": "minio",
    "Params": {
        "accessKeyKey": "accesskey",
        "disableSSL": "true",
        "endpoint": "minio.recycle.svc.cluster.local:9000",
        "forcePathStyle": "true",
        "fromEnv": "false",
        "maxRetries": "10",
        "region": "us-east-1",
        "secretKeyKey": "secretkey",
        "secretName": "mlpipeline-minio-artifact",
    },
}
"""What the launcher writes into each artifact's metadata (objectstore.SessionInfo), see manifests/kfp/launcher.yaml."""

TEMPLATE, FIXED, ROOT = 2300, 18_000, 32_000
"""Bytes of a task in the template of its box, of the other templates and the metadata, and of the root's own nodes."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """What a run fills in."""

    text: str
    """Value of each text parameter."""
    listed: tuple = ()
    """Value of each parameter that is a list."""
    metadata: str = ""
    """What a step of ours writes into the metadata of a checkpoint."""
    iterations: int = 1
    """Of each loop."""


def compact(value):
    """JSON as Go writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def measure_workflow(spec, platform, values, pipeline="watch"):
    """Bytes of the whole Workflow, which is what the controller compares with its bound."""
    configs = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = spec["deploymentSpec"]["executors"]
    parts = [*spec["components"].values(), spec["root"]]
    # The Workflow's arguments hold each of these once as a text, under a digest of 64 signs; the templates name them.
    texts = [*{compact(one) for one in (*executors.values(), *parts)}, *map(compact, configs.values())]
    arguments = sum(len(compact(text)) + 130 for text in texts)
    tasks = sum(len(part["dag"]["tasks"]) for part in parts if "dag" in part)
    return arguments + tasks * TEMPLATE + FIXED + ROOT + sum(measure(spec, platform, values, pipeline).values())


def measure(spec, platform, values, pipeline="watch"):
    """Bytes by task, each with the names of the boxes that it is in; those of the boxes' own nodes are theirs."""
    sizes = {}
    _measure_dag(spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], values, pipeline, sizes)
    return sizes


def _measure_dag(spec, configs, values, pipeline, sizes, component="root", path=(), times=1):
    part = spec["root"] if component == "root" else spec["components"][component]
    for key, task in part["dag"]["tasks"].items():
        called = task["componentRef"]["name"]
        inner = spec["components"][called]
        again = values.iterations if "parameterIterator" in task else 1
        name = ".".join((*path, key))
        if "dag" in inner:
            # A loop is a box of its own around the boxes of its iterations.
            boxes = times * (1 + again if "parameterIterator" in task else 1)
            sizes[name] = boxes * _bytes(box_nodes(compact(inner), compact(task), key, path))
            _measure_dag(spec, configs, values, pipeline, sizes, called, (*path, key), times * again)
            continue
        label = inner["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        artifacts = {
            one: inner["inputDefinitions"]["artifacts"][one]["artifactType"].get("schemaTitle", "")
            for one in task.get("inputs", {}).get("artifacts", {})
        }
        given = {
            one: _value(inner["inputDefinitions"]["parameters"][one]["parameterType"], source, values)
            for one, source in task.get("inputs", {}).get("parameters", {}).items()
        }
        patch = pod_spec_patch(inner, container, configs[label], artifacts, given, values, key, pipeline)
        driver = {
            "component": compact(inner),
            "task": compact(task),
            "container": compact(container),
            "kubernetes-config": compact(configs[label]),
        }
        sizes[name] = times * again * _bytes(step_nodes(driver, patch, key, path, task.get("retryPolicy")))


def _value(kind, source, values):
    if "runtimeValue" in source and "componentInputParameter" not in source:
        return source["runtimeValue"]["constant"]
    if kind == "LIST":
        return list(values.listed)
    return {"STRING": values.text, "BOOLEAN": False, "STRUCT": {}}.get(kind, 0.01)


def _bytes(nodes):
    # Each stands under its id, with a comma and a colon.
    return sum(len(compact(node)) + 28 for node in nodes)


def _uri(pipeline, step, name):
    return f"minio://mlpipeline/v2/artifacts/{pipeline}/{RUN}/{step}/{RUN}/{name}"


def executor_input(component, artifacts, given, values, step, pipeline):
    """What the driver resolves (backend/src/v2/driver/resolve.go) for a task of these inputs."""
    found = {
        name: {
            "artifacts": [
                {
                    "name": "1000",
                    "type": {"instanceSchema": ""},
                    "uri": _uri(pipeline, "a-step-before-2", name),
                    "metadata": {"display_name": name, "store_session_info": compact(SESSION), "role": "recycled"}
                    | ({"model": values.metadata} if kind == "system.Model" else {}),
                }
            ]
        }
        for name, kind in artifacts.items()
    }
    outputs = component.get("outputDefinitions", {})
    made = outputs.get("artifacts", {}) | {"executor-logs": {"artifactType": {"schemaTitle": "system.Artifact"}}}
    return {
        "inputs": ({"artifacts": found} if found else {}) | ({"parameterValues": given} if given else {}),
        "outputs": {
            "artifacts": {
                name: {"artifacts": [{"name": name, "type": one["artifactType"], "uri": _uri(pipeline, step, name)}]}
                for name, one in made.items()
            },
            "parameters": {name: {"outputFile": f"/tmp/kfp/outputs/{name}"} for name in outputs.get("parameters", {})},
            "outputFile": _uri(pipeline, step, "output_metadata.json").replace("minio:/", "/minio"),
        },
    }


def pod_spec_patch(component, container, config, artifacts, given, values, step, pipeline):
    """What the driver answers with (backend/src/v2/driver/driver.go, initPodSpecPatch; k8s.go)."""
    launcher = [
        *("/kfp-launcher/launch", "--pipeline_name", pipeline, "--run_id", RUN, "--execution_id", "1000"),
        *("--executor_input", compact(executor_input(component, artifacts, given, values, step, pipeline))),
        *("--component_spec", compact(component | {"outputs": '"executor-logs":{"artifactType":{"schemaTitle":""}}'})),
        *("--pod_name", "$(KFP_POD_NAME)", "--pod_uid", "$(KFP_POD_UID)"),
        *("--ml_pipeline_server_address", "ml-pipeline.kubeflow.svc.cluster.local"),
        *("--ml_pipeline_server_port", "8887"),
        *("--mlmd_server_address", "metadata-grpc-service.kubeflow.svc.cluster.local", "--mlmd_server_port", "8080"),
        *("--publish_logs", "true", "--publish_logs", "true", "--"),
    ]
    environment = [
        {"name": "MLFLOW_RUN_ID", "value": "0" * 32},
        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.recycle.svc.cluster.local:5000"},
        {"name": "MLFLOW_EXPERIMENT_ID", "value": "1"},
    ]
    volumes, mounts = [], []
    for kind, name, reference in (
        ("secret", "secretName", "secretName"),
        ("configMap", "configMapName", "name"),
    ):
        for one in config.get(f"{kind}AsVolume", ()):
            volumes.append({"name": one[name], kind: {reference: one[name], "optional": True}})
            mounts.append({"name": one[name], "mountPath": one["mountPath"]})
    for one in config.get("emptyDirMounts", ()):
        volumes.append({"name": one["volumeName"], "emptyDir": {"sizeLimit": one["sizeLimit"], "medium": "Memory"}})
        mounts.append({"name": one["volumeName"], "mountPath": one["mountPath"]})
    for one in config.get("fieldPathAsEnv", ()):
        environment.append({"name": one["name"], "valueFrom": {"fieldRef": {"fieldPath": one["fieldPath"]}}})
    resources = container["resources"]
    limits = {"cpu": resources["resourceCpuLimit"], "memory": resources["resourceMemoryLimit"]}
    requests = {"cpu": resources["resourceCpuRequest"], "memory": resources["resourceMemoryRequest"]}
    if "accelerator" in resources:
        limits[resources["accelerator"]["resourceType"]] = resources["accelerator"]["resourceCount"]
    main = {
        "name": "main",
        "image": container["image"],
        "command": launcher,
        "args": [*container["command"], *container["args"]],
        "env": environment,
        "resources": {"limits": limits, "requests": requests},
        "volumeMounts": mounts,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsUser": 1, "runAsGroup": 1, "runAsNonRoot": True},
    }
    pod = {
        "volumes": volumes,
        "containers": [main],
        "activeDeadlineSeconds": 100000,
        "nodeSelector": config.get("nodeSelector", {}).get("labels", {}),
        "tolerations": config.get("tolerations", []),
    }
    return compact(pod)


def _node(name, template, inputs, outputs=(), **more):
    """A node as Argo keeps it, but for values of the same length for what differs from run to run."""
    workflow = "recycle-then-finetune-00000"
    return {
        "id": f"{workflow}-0000000000",
        "name": f"{workflow}(0).root(0).{name}",
        "displayName": name.rsplit(".", 1)[-1],
        "type": "Retry",
        "templateName": template,
        "templateScope": f"local/{workflow}",
        "phase": "Succeeded",
        "boundaryID": f"{workflow}-0000000000",
        "startedAt": "2026-11-28T15:43:35Z",
        "finishedAt": "2026-11-28T15:43:40Z",
        "progress": "24/24",
        "resourcesDuration": {"cpu": 10, "memory": 100},
        "inputs": {"parameters": [{"name": key, "value": value} for key, value in inputs]},
        "children": [f"{workflow}-0000000000"],
        **({"outputs": {"parameters": list(outputs), **_LOGS}} if outputs else {}),
        **more,
    }


_LOGS = {
    "artifacts": [{"name": "main-logs", "s3": {"key": "0" * 118}}],
    "exitCode": "0",
}
_POD = {"nodeFlag": {"retried": True}, "hostNodeName": "a-node-of-a-cluster", "taskResultSynced": True}


def _output(name, value, default):
    path = {"path": f"/tmp/outputs/{name}", "default": default}
    return {"name": name, "value": value, "valueFrom": path}


def step_nodes(driver, patch, key, path, retries):
    """The nodes of a step: driver and executor, each with the Retry node that the controller's defaults ask for."""
    name = ".".join(f"{box}(0)" for box in path) + ("." if path else "") + key
    inputs = [*driver.items(), ("task-name", key), ("parent-dag-id", "1000"), ("iteration-index", "-1")]
    answers = [
        _output("pod-spec-patch", patch, ""),
        _output("cached-decision", "false", "false"),
        _output("condition", "nil", "true"),
    ]
    asked = [("pod-spec-patch", patch)]
    template = "metadata-3-0-retry-system-container-impl" if retries else "system-container-impl"
    if retries:
        asked += [("retry-max-count", "2"), ("retry-backoff-duration", "60"), ("retry-backoff-factor", "2")]
        asked += [("retry-backoff-max-duration", "100000")]
    whole = [*asked, ("cached-decision", "false")]
    return [
        _node(f"{name}-driver", "system-container-driver", inputs, answers),
        _node(f"{name}-driver(0)", "system-container-driver", inputs, answers, **_POD),
        _node(name, template, whole),
        _node(f"{name}(0)", template, whole, children=["0" * 38] * 3, outboundNodes=["0" * 38]),
        _node(f"{name}(0).executor", template, asked, outputs=[{}]),
        _node(f"{name}(0).executor(0)", template, asked, outputs=[{}], **_POD),
    ]


def box_nodes(component, task, key, path):
    """The nodes of a condition, a loop or a nested pipeline: a driver that is given all of it, and the box itself."""
    name = ".".join(f"{box}(0)" for box in path) + ("." if path else "") + key
    inputs = [("component", component), ("runtime-config", ""), ("task", task), ("task-name", key)]
    inputs += [("parent-dag-id", "1000"), ("iteration-index", "-1"), ("driver-type", "DAG")]
    answers = [
        _output("execution-id", "1000", ""),
        _output("iteration-count", "0", "0"),
        _output("condition", "true", "true"),
    ]
    return [
        _node(f"{name}-driver", "system-dag-driver", inputs, answers),
        _node(f"{name}-driver(0)", "system-dag-driver", inputs, answers, **_POD),
        _node(name, f"comp-{key}", [("parent-dag-id", "1000")]),
        _node(f"{name}(0)", f"comp-{key}", [("parent-dag-id", "1000")], children=["0" * 38] * 4),
    ]
