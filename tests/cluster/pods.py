"""Runs a compiled pipeline's tasks as pods of a real cluster: a stand-in for Kubeflow Pipelines' driver and launcher.

`kfp.local` walks the graph and fills in each task's command; here that command becomes a pod, built from the same
compiled file as KFP builds it: image, resources, environment, volumes and security context come from there alone. What
the pod is given besides is what KFP's install gives it: the run's label, the MLflow plugin's variables, and a volume
for the small artifacts. Its root file system is read-only, which KFP cannot ask for and the images must bear.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kfp import local
from kfp.components import load_component_from_text
from kfp.local import status, task_dispatcher
from kubernetes import client

NAMESPACE = "kubeflow"
ARTIFACTS = Path("/var/lib/recycle-test/artifacts")
PARENT_TAG = "kfp.pipeline_run_id"
LONGEST_S = 1800.0


@dataclass(kw_only=True)
class TaskRun:
    """How one task's pod, or its several pods, ended."""

    task: str
    pods: list[str] = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""
    phase: str = ""


@dataclass(kw_only=True)
class PodRunner:
    """Runs one pipeline; `tasks` tells what became of each task."""

    compiled: Path
    run_id: str
    mlflow: Any
    """A client of the MLflow that the pods use too."""
    tracking_uri: str
    """Where the pods find it."""
    change: Callable[[str, dict[str, Any]], None] = lambda task, pod: None
    """May change a pod before it starts."""
    retries: int = 0
    """Further pods for a task whose pod was lost, as a retry strategy makes them."""
    tasks: list[TaskRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        documents = list(yaml.safe_load_all(self.compiled.read_text()))
        self._spec = documents[0]
        self._platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self._core = client.CoreV1Api()
        self._experiment = self._experiment_id()
        self._parent = self._open_run(self.run_id, {PARENT_TAG: self.run_id})

    def run(self, arguments: dict[str, Any]) -> None:
        """Run the pipeline; a task that fails raises RuntimeError, as `kfp.local` does."""
        root = ARTIFACTS / self.run_id
        root.mkdir(parents=True)
        os.chown(root, 10001, 10001)
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
        with self._in_place_of_subprocesses():
            load_component_from_text(self.compiled.read_text())(**arguments)
        self.mlflow.set_terminated(self._parent, "FINISHED")

    @contextmanager
    def _in_place_of_subprocesses(self) -> Iterator[None]:
        runner = self

        class Handler:
            def __init__(self, image: str, full_command: list[str], **_: object) -> None:
                self._task = runner._task_of(full_command)
                self._image = image
                self._command = full_command

            def run(self) -> status.Status:
                ended = runner._run_task(self._task, self._image, self._command)
                return status.Status.SUCCESS if ended else status.Status.FAILURE

        module = task_dispatcher.subprocess_task_handler
        original = module.SubprocessTaskHandler
        module.SubprocessTaskHandler = Handler
        try:
            yield
        finally:
            module.SubprocessTaskHandler = original

    def _task_of(self, command: list[str]) -> str:
        """The name that tells executors apart, from the place that `kfp.local` gives to this task's outputs."""
        output = re.findall(r'"outputFile": ?"([^"]+)"', " ".join(command))[-1]
        folder = Path(output).parent
        self._give_away(folder)
        return folder.name

    def _give_away(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, *folder.parents, *folder.rglob("*")):
            if place.is_relative_to(ARTIFACTS) and place != ARTIFACTS:
                os.chown(place, 10001, 10001)

    def _run_task(self, task: str, image: str, command: list[str]) -> bool:
        ran = TaskRun(task=task)
        self.tasks.append(ran)
        run = self._open_run(task, {"mlflow.parentRunId": self._parent})
        started = time.monotonic()
        for attempt in range(self.retries + 1):
            pod = self._pod(task, attempt, image, command, run)
            self.change(task, pod)
            name = pod["metadata"]["name"]
            ran.pods.append(name)
            self._core.create_namespaced_pod(NAMESPACE, pod)
            ran.phase, ran.log = self._follow(name)
            if ran.phase in ("Succeeded", "Failed"):
                break
        ran.seconds = round(time.monotonic() - started, 1)
        print(f"{ran.seconds:7.1f} s  {task}  {ran.phase}", flush=True)  # noqa: T201
        self.mlflow.set_terminated(run, "FINISHED" if ran.phase == "Succeeded" else "FAILED")
        return ran.phase == "Succeeded"

    def _follow(self, name: str) -> tuple[str, str]:
        """The phase that a pod ended in (`Lost` for one that was deleted) and its log as far as it was seen."""
        log, deadline = "", time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            try:
                pod = self._core.read_namespaced_pod(name, NAMESPACE)
                if pod.status.phase != "Pending":
                    log = self._core.read_namespaced_pod_log(name, NAMESPACE) or log
                if pod.metadata.deletion_timestamp:
                    time.sleep(1)
                    continue
                if pod.status.phase in ("Succeeded", "Failed"):
                    return pod.status.phase, log
            except client.ApiException as error:
                if error.status == 404:
                    return "Lost", log
                if error.status != 400:  # a container that is only starting has no log
                    raise
            time.sleep(0.5)
        return "Unfinished", log

    def _pod(self, task: str, attempt: int, image: str, command: list[str], run: str) -> dict[str, Any]:
        platform = self._platform[f"exec-{task}"]
        container = self._spec["deploymentSpec"]["executors"][f"exec-{task}"]["container"]
        assert image == container["image"]
        volumes, mounts = self._volumes(platform)
        environment = [*self._plugin(run), *self._environment(platform)]
        names = [variable["name"] for variable in environment]
        # Argo merges by name: a value and a reference of one name would be one entry with both, which is refused.
        assert len(set(names)) == len(names), names
        metadata = platform.get("podMetadata", {})
        security = {name: value for name, value in platform["securityContext"].items() if name != "runAsNonRoot"}
        return {
            "metadata": {
                "name": f"{self.run_id}-{task}-{attempt}",
                "labels": {"pipeline/runid": self.run_id, **metadata.get("labels", {})},
                "annotations": metadata.get("annotations", {}),
            },
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": int(platform["activeDeadlineSeconds"]),
                "nodeSelector": platform.get("nodeSelector", {}).get("labels", {}),
                "volumes": volumes,
                "containers": [
                    {
                        "name": "main",
                        "image": image,
                        "imagePullPolicy": platform["imagePullPolicy"],
                        "command": command,
                        "env": environment,
                        "resources": self._resources(container["resources"]),
                        "volumeMounts": mounts,
                        # KFP sets the rest of this on every task's container.
                        "securityContext": {
                            **{name: int(value) for name, value in security.items()},
                            "runAsNonRoot": platform["securityContext"]["runAsNonRoot"],
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                            "seccompProfile": {"type": "RuntimeDefault"},
                            "readOnlyRootFilesystem": True,
                        },
                    }
                ],
            },
        }

    def _environment(self, platform: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for source in platform.get("configMapAsEnv", ()):
            for pair in source["keyToEnv"]:
                reference = {"name": source["configMapName"], "key": pair["configMapKey"], "optional": True}
                found.append({"name": pair["envVar"], "valueFrom": {"configMapKeyRef": reference}})
        for source in platform.get("secretAsEnv", ()):
            for pair in source["keyToEnv"]:
                reference = {"name": source["secretName"], "key": pair["secretKey"], "optional": True}
                found.append({"name": pair["envVar"], "valueFrom": {"secretKeyRef": reference}})
        for source in platform.get("fieldPathAsEnv", ()):
            found.append({"name": source["name"], "valueFrom": {"fieldRef": {"fieldPath": source["fieldPath"]}}})
        return found

    def _plugin(self, run: str) -> list[dict[str, Any]]:
        values = {"RUN_ID": run, "TRACKING_URI": self.tracking_uri, "EXPERIMENT_ID": self._experiment}
        return [{"name": f"MLFLOW_{name}", "value": value} for name, value in values.items()]

    @staticmethod
    def _resources(asked: dict[str, Any]) -> dict[str, Any]:
        resources = {
            "requests": {"cpu": asked["resourceCpuRequest"], "memory": asked["resourceMemoryRequest"]},
            "limits": {"cpu": asked["resourceCpuLimit"], "memory": asked["resourceMemoryLimit"]},
        }
        if "accelerator" in asked:
            resources["limits"][asked["accelerator"]["resourceType"]] = asked["accelerator"]["resourceCount"]
        return resources

    @staticmethod
    def _volumes(platform: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        volumes: list[dict[str, Any]] = [{"name": "artifacts", "persistentVolumeClaim": {"claimName": "artifacts"}}]
        mounts = [{"name": "artifacts", "mountPath": str(ARTIFACTS)}]
        for made in platform.get("emptyDirMounts", ()):
            settings = {key: made[key] for key in ("medium", "sizeLimit") if key in made}
            volumes.append({"name": made["volumeName"], "emptyDir": settings})
            mounts.append({"name": made["volumeName"], "mountPath": made["mountPath"]})
        return volumes, mounts

    def _experiment_id(self) -> str:
        found = self.mlflow.get_experiment_by_name("recycle")
        return str(found.experiment_id if found else self.mlflow.create_experiment("recycle"))

    def _open_run(self, name: str, tags: dict[str, str]) -> str:
        return str(self.mlflow.create_run(self._experiment, run_name=name, tags=tags).info.run_id)
