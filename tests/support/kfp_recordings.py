"""Runs that a real KFP 2.17.0 with Argo 4.0.5 ran, whose nodes Argo compressed: as its Workflow and as KFP's API tells.

`tests/fixtures/kfp/NAME.json` has of each node its name after the workflow's, type, phase, times, message and the
step's role; of each task of the API, which stood still since the nodes were compressed, what it had last. `grid` is cut
down to three of its six pairs.
"""

import base64
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.fake_kfp import NOT_YET, FakeKfp, FakeRun, node_id

FOLDER = Path(__file__).parent.parent / "fixtures/kfp"


@dataclass
class Recording:
    """A recorded run."""

    name: str
    changes: dict[str, dict] = field(default_factory=dict)
    """What is otherwise than recorded, by the end of a node's name."""

    def __post_init__(self):
        self.facts = json.loads((FOLDER / f"{self.name}.json").read_text(encoding="utf-8"))
        self.run_id = self.facts["run_id"]

    def node_of(self, ending):
        """The id of the node whose name ends so."""
        (name,) = (row[0] for row in self.facts["nodes"] if row[0].endswith(ending))
        return self._id(name)

    def nodes(self, at="23:59:59"):
        """Argo's nodes as they were at a time of that day."""
        found = {}
        for row in self.facts["nodes"]:
            name, kind, phase, started, ended, message, role = [*row, *[""] * (7 - len(row))]
            if started > at:
                continue
            node = {"id": self._id(name), "name": self.facts["workflow"] + name, "type": kind, "phase": phase}
            node |= {"startedAt": self._moment(started), "finishedAt": self._moment(ended), "message": message}
            if ended > at or not ended:
                node |= {"phase": "Running", "finishedAt": None, "message": ""}
            if role:
                given = {"inputs": {"parameterValues": {"role": role}}}
                patch = {"containers": [{"command": ["launch", "--executor_input", json.dumps(given)]}]}
                node["inputs"] = {"parameters": [{"name": "pod-spec-patch", "value": json.dumps(patch)}]}
            for ending, change in self.changes.items():
                node |= change if name.endswith(ending) else {}
            found[node["id"]] = node
        return found

    def workflow(self, at="23:59:59", *, compressed=True, offloaded=False):
        """The Workflow, as Kubernetes has it."""
        nodes = self.nodes(at)
        packed = base64.b64encode(gzip.compress(json.dumps(nodes).encode())).decode()
        status = {"compressedNodes": packed} if compressed else {"nodes": nodes}
        if offloaded:
            status = {"offloadNodeStatusVersion": "fnv:1"}
        return {"metadata": {"labels": {"pipeline/runid": self.run_id}}, "status": status}

    def run(self, *, state=""):
        """The run, as KFP's API told of it."""
        facts = self.facts
        ended = (state or facts["state"]) in ("SUCCEEDED", "FAILED")
        names = [row[0] for row in facts["nodes"]]
        tasks = [
            {
                "display_name": shown,
                "state": phase,
                "start_time": self._moment(started),
                "end_time": self._moment(end) if end else NOT_YET,
                "child_tasks": [{"pod_name": self._id(names[child])} for child in children],
            }
            for shown, phase, started, end, children in facts["tasks"]
        ]
        return {
            "run_id": self.run_id,
            "display_name": self.name,
            "pipeline_version_reference": {"pipeline_id": self.name, "pipeline_version_id": "1"},
            "created_at": facts["created_at"],
            "finished_at": facts["finished_at"] if ended else NOT_YET,
            "state": state or facts["state"],
            "run_details": {"task_details": tasks},
            "plugins_output": {"mlflow": {"entries": {"root_run_id": {"value": facts["mlflow_run"]}}}},
        }

    def add_to(self, kfp: FakeKfp, **logs):
        """Let a KFP have this run, with logs by the ends of names."""
        steps = {key: {"componentRef": {"name": "one"}, "taskInfo": {"name": name}} for key, name in self._steps()}
        spec = {"root": {"dag": {"tasks": steps}}, "components": {"one": {}}}
        kfp.pipelines[self.name] = {"pipeline_id": self.name, "name": self.name, "display_name": self.name}
        kfp.versions[self.name] = [
            {"pipeline_version_id": "1", "created_at": self.facts["created_at"], "pipeline_spec": spec}
        ]
        run = FakeRun(document=self.run(), spec={}, ticks=-1)
        run.logs = {self.node_of(ending): log for ending, log in logs.items()}
        kfp.runs[self.run_id] = run
        return run

    def _steps(self):
        return self.facts["steps"].items()

    def _id(self, name):
        workflow = self.facts["workflow"]
        return node_id(workflow, workflow + name) if name else workflow

    def _moment(self, time):
        return f"{self.facts['day']}T{time}Z" if time else None
