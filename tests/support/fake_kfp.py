"""A Kubeflow Pipelines API for tests: an HTTP server of our own that answers as a real KFP 2.17 did.

`kfp_2_17.json` holds what that one answered, cut down to what matters: bodies of errors, three runs of a skeleton
pipeline with all their nodes, the log of a step that failed. Runs of pipelines that tests upload are made here in the
same form: at each request one more step has ended, and ids of nodes are hashes of their names, as Argo makes them.
"""

import functools
import json
import re
import threading
import uuid
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

from pipelines.backend.uploading import Compiled, compiled
from pipelines.parts.resources import Resources

RECORDED = json.loads((Path(__file__).parent / "kfp_2_17.json").read_text(encoding="utf-8"))
NEVER, NOT_YET = "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"
TYPES = {"STRING": str, "BOOLEAN": bool, "NUMBER_DOUBLE": (int, float), "NUMBER_INTEGER": int}


@dataclass(kw_only=True)
class Fault:
    """What the next `times` requests get whose method and path contain `path`."""

    path: str
    status: int = 503
    body: bytes = b'{"error": "not now"}'
    content_type: str = "application/json"
    times: int = 1


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: dict) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def recorded(name: str, **replaced: str) -> Refused:
    """An error as it was recorded, with words of it replaced."""
    text = json.dumps(RECORDED[name]["body"])
    for old, new in replaced.items():
        text = text.replace(old.replace("_", "-"), new)
    return Refused(RECORDED[name]["status"], json.loads(text))


def refused(status: int, code: int, message: str) -> Refused:
    return Refused(status, {"code": code, "message": message, "details": []})


class HttpServer:
    """An HTTP server in a thread, with faults, that keeps what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], object]] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                fake._serve(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, method: str, path: str) -> list[object]:
        """The bodies of requests whose path matches."""
        return [body for did, asked, _, body in self.seen if did == method and re.fullmatch(path, asked)]

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        data = request.rfile.read(int(request.headers.get("content-length") or 0))
        url = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = self._body(request, data)
        with self._lock:
            self.seen.append((request.command, unquote(url.path), query, body))
            fault = next(
                (one for one in self.faults if one.times and one.path in f"{request.command} {url.path}"), None
            )
            if fault:
                fault.times -= 1
                self._send(request, fault.status, fault.body, fault.content_type)
                return
            try:
                found = self.answer(request, unquote(url.path), query, body)
                status = 200
            except Refused as error:
                found, status = error.body, error.status
        if isinstance(found, str):
            self._send(request, status, found.encode(), "text/plain; charset=utf-8")
        else:
            self._send(request, status, json.dumps(found).encode(), "application/json")

    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict, body: object) -> object:
        raise NotImplementedError

    @staticmethod
    def _body(request: BaseHTTPRequestHandler, data: bytes) -> object:
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/"):
            message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + data, policy=policy.HTTP)
            (part,) = message.iter_parts()
            assert part.get_param("name", header="content-disposition") == "uploadfile"
            return part.get_payload(decode=True)
        return json.loads(data) if data else None

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, data: bytes, content_type: str) -> None:
        request.send_response(status)
        request.send_header("content-type", content_type)
        request.send_header("content-length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


@dataclass(kw_only=True)
class Step:
    """How a step of a fake run goes."""

    log: str | None = None
    state: str = "SUCCEEDED"
    stuck: bool = False
    """Pending for ever."""
    driver_fails: bool = False


@dataclass(kw_only=True)
class FakeRun:
    document: dict
    spec: dict
    ticks: int = 0
    stopped: bool = False
    logs: dict[str, str] = field(default_factory=dict)


class FakeKfp(HttpServer):
    """The API's state, and its answers."""

    WORKFLOW = "recycle-gzmk4"

    def __init__(self) -> None:
        self.pipelines: dict[str, dict] = {}
        self.versions: dict[str, list[dict]] = {}
        self.experiments: dict[str, dict] = {}
        self.recurring: dict[str, dict] = {}
        self.runs: dict[str, FakeRun] = {}
        self.steps: dict[str, Step] = {}
        self.multi_user = False
        self.is_ui = False
        self.token = ""
        self.steps_stay_behind = False
        """Whether the steps' states stay as they were when the run's ends, as where Argo compresses them."""
        self.tries_of_everything = True
        """Whether every node has one for each try, as where Argo's defaults say so for all templates."""
        self.on_tick: Callable[[FakeRun], None] = lambda run: None
        self._clock = datetime(2026, 11, 23, 20, 17, tzinfo=UTC)
        super().__init__()

    def add_recorded_run(self, name: str) -> str:
        """A run of the skeleton as it was; its id."""
        document = deepcopy(RECORDED["runs"][name])
        reference = document["pipeline_version_reference"]
        pipeline, version = reference["pipeline_id"], reference["pipeline_version_id"]
        self.pipelines[pipeline] = RECORDED["upload pipeline"]["body"]
        made = {**RECORDED["upload version"]["body"], "pipeline_spec": {"pipeline_spec": RECORDED["skeleton"]}}
        assert made["pipeline_version_id"] == version
        self.versions[pipeline] = [made]
        self.runs[document["run_id"]] = FakeRun(document=document, spec={}, logs=RECORDED["logs"], ticks=-1)
        return document["run_id"]

    def answer(self, request: BaseHTTPRequestHandler, path: str, query: dict, body: object) -> object:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise refused(401, 16, "Request header error: there is no user identity header.")
        if match := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
            return self._log(*match.groups())
        for pattern, method, function in (
            (r"healthz", "GET", self._health),
            (r"experiments", "GET", self._list_experiments),
            (r"experiments", "POST", self._create_experiment),
            (r"pipelines", "POST", self._create_pipeline),
            (r"pipelines/upload_version", "POST", self._upload_version),
            (r"pipelines/names/([^/]+)", "GET", self._pipeline_by_name),
            (r"pipelines/([^/]+)", "GET", self._pipeline),
            (r"pipelines/([^/]+)/versions", "GET", self._list_versions),
            (r"pipelines/([^/]+)/versions/([^/]+)", "GET", self._version),
            (r"runs", "GET", self._list_runs),
            (r"runs", "POST", self._create_run),
            (r"runs/([^/]+):terminate", "POST", self._terminate),
            (r"runs/([^/]+)", "GET", self._run),
            (r"recurringruns", "GET", self._list_recurring),
            (r"recurringruns", "POST", self._create_recurring),
            (r"recurringruns/([^/:]+):(enable|disable)", "POST", self._switch),
            (r"recurringruns/([^/:]+)", "DELETE", self._delete_recurring),
        ):
            match = re.fullmatch(f"/apis/v2beta1/{pattern}", path)
            if match and request.command == method:
                return function(*match.groups(), query=query, body=body)
        raise refused(404, 5, "Not Found")

    def _health(self, query: dict, body: object) -> dict:
        if self.is_ui:
            return {"apiServerReady": True, "multi_user": self.multi_user, "frontendTagName": "2.17.0"}
        return {**RECORDED["health"]["body"], "multi_user": self.multi_user}

    def _namespace(self, namespace: str | None) -> None:
        if self.multi_user and not namespace:
            raise refused(400, 3, "Namespace is required in multi-user mode")
        if not self.multi_user and namespace:
            raise refused(400, 3, "In single-user mode, namespace must be empty")

    def _list_experiments(self, query: dict, body: object) -> dict:
        self._namespace(query.get("namespace"))
        ((predicate,),) = json.loads(query["filter"]).values()
        assert (predicate["operation"], predicate["key"]) == (1, "display_name")
        return _page(
            "experiments",
            [one for one in self.experiments.values() if one["display_name"] == predicate["stringValue"]],
            {},
        )

    def _create_experiment(self, query: dict, body: dict) -> dict:
        self._namespace(body.get("namespace"))
        made = {**RECORDED["create experiment"]["body"], "experiment_id": str(uuid.uuid4()), **body}
        self.experiments[made["experiment_id"]] = made
        return made

    def _create_pipeline(self, query: dict, body: dict) -> dict:
        self._namespace(body.get("namespace"))
        if any(one["name"] == body["name"] for one in self.pipelines.values()):
            raise refused(
                409, 6, f"Already exist error: The name {body['name']} already exist. Please specify a new name."
            )
        made = {"pipeline_id": str(uuid.uuid4()), **body, "created_at": self._now()}
        self.pipelines[made["pipeline_id"]] = made
        self.versions[made["pipeline_id"]] = []
        return made

    def _upload_version(self, query: dict, body: bytes) -> dict:
        try:
            spec, platform = _documents(body)
        except (yaml.YAMLError, ValueError):
            raise recorded("no pipeline spec") from None
        versions = self.versions[query["pipelineid"]]
        if any(one["name"] == query["name"] for one in versions):
            raise recorded("name taken")
        made = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": query.get("display_name", query["name"]),
            "name": query["name"],
            "description": query.get("description", ""),
            "created_at": self._now(),
            "pipeline_spec": deepcopy({"pipeline_spec": spec, "platform_spec": platform}),
        }
        versions.append(made)
        return made

    def _pipeline_by_name(self, name: str, query: dict, body: object) -> dict:
        self._namespace(query.get("namespace"))
        for one in self.pipelines.values():
            if one["name"] == name:
                return one
        raise recorded("unknown pipeline name", nothing_here=name)

    def _pipeline(self, pipeline_id: str, query: dict, body: object) -> dict:
        if pipeline_id not in self.pipelines:
            raise refused(404, 5, f"Pipeline {pipeline_id} not found")
        return self.pipelines[pipeline_id]

    def _list_versions(self, pipeline_id: str, query: dict, body: object) -> dict:
        assert query["sort_by"] == "created_at desc"
        return _page("pipeline_versions", self.versions.get(pipeline_id, [])[::-1], query)

    def _version(self, pipeline_id: str, version_id: str, query: dict, body: object) -> dict:
        for one in self.versions.get(pipeline_id, []):
            if one["pipeline_version_id"] == version_id:
                return one
        raise refused(404, 5, f"PipelineVersion {version_id} not found")

    def _list_runs(self, query: dict, body: object) -> dict:
        self._namespace(query.get("namespace"))
        assert query["sort_by"] == "created_at desc"
        documents = [run.document for run in self.runs.values()]
        return _page("runs", sorted(documents, key=lambda one: one["created_at"], reverse=True), query)

    def _create_run(self, query: dict, body: dict) -> dict:
        reference = body["pipeline_version_reference"]
        versions = self.versions.get(reference["pipeline_id"])
        if not versions:
            raise recorded("run of an unknown pipeline")
        version = next(one for one in versions if one["pipeline_version_id"] == reference["pipeline_version_id"])
        spec = version["pipeline_spec"]["pipeline_spec"]
        parameters = body["runtime_config"]["parameters"]
        definitions = spec["root"]["inputDefinitions"]["parameters"]
        for name, value in parameters.items():
            if name not in definitions:
                raise recorded("unknown parameter", nope=name)
            if not isinstance(value, TYPES[definitions[name]["parameterType"]]):
                raise recorded("wrong type", scale=name)
        assert body["experiment_id"] in self.experiments
        document = {
            **RECORDED["create run"]["body"],
            **body,
            "run_id": str(uuid.uuid4()),
            "created_at": self._now(),
            "state_history": [],
        }
        del document["state"]  # missing at first
        self.runs[document["run_id"]] = FakeRun(document=document, spec=spec)
        return document

    def _run(self, run_id: str, query: dict, body: object) -> dict:
        if run_id not in self.runs:
            raise recorded("unknown run", **{"00000000_0000_0000_0000_000000000000": run_id})
        run = self.runs[run_id]
        self.on_tick(run)
        if run.ticks >= 0:
            _Progress(self, run).advance()
        return run.document

    def _terminate(self, run_id: str, query: dict, body: object) -> dict:
        self.runs[run_id].stopped = True
        return {}

    def _log(self, run_id: str, node: str) -> str:
        if self.is_ui:
            raise refused(404, 5, "Not Found")
        if node not in self.runs[run_id].logs:
            raise refused(404, 5, f"Failed to read logs for run {run_id}")
        return self.runs[run_id].logs[node]

    def _list_recurring(self, query: dict, body: object) -> dict:
        self._namespace(query.get("namespace"))
        return _page("recurringRuns", list(self.recurring.values()), query)

    def _create_recurring(self, query: dict, body: dict) -> dict:
        cron = body["trigger"]["cron_schedule"]["cron"]
        if not 5 <= len(cron.split()) <= 6:
            raise recorded("bad cron")
        made = {**body, "recurring_run_id": str(uuid.uuid4()), "status": "ENABLED", "created_at": self._now()}
        self.recurring[made["recurring_run_id"]] = made
        return made

    def _switch(self, recurring_id: str, action: str, query: dict, body: object) -> dict:
        self.recurring[recurring_id]["status"] = f"{action.upper()}D"
        return {}

    def _delete_recurring(self, recurring_id: str, query: dict, body: object) -> dict:
        if self.recurring.pop(recurring_id, None) is None:
            raise recorded("unknown recurring run")
        return {}

    def _now(self) -> str:
        self._clock += timedelta(seconds=1)
        return f"{self._clock:%Y-%m-%dT%H:%M:%SZ}"


@functools.cache
def _documents(content: bytes) -> tuple[dict, ...]:
    return tuple(yaml.load_all(content, Loader=yaml.CSafeLoader))


@functools.cache
def _compiled_once(name: str, resources: str, profile: str, settings: tuple[str, ...]) -> Compiled:
    return compiled(name, Resources.model_validate_json(resources), profile=profile, settings=settings)


def _page(key: str, documents: list[dict], query: dict) -> dict:
    start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 10)
    page = {key: documents[start : start + size], "total_size": len(documents)}
    if start + size < len(documents):
        page["next_page_token"] = str(start + size)
    return page if documents else {}


class _Progress:
    """Brings a run one step further, and writes its nodes down as the API tells them."""

    def __init__(self, kfp: FakeKfp, run: FakeRun) -> None:
        self._kfp, self._run = kfp, run
        self._start = datetime.fromisoformat(run.document["created_at"])
        self._nodes: list[dict] = []
        self._by_name: dict[str, dict] = {}

    def advance(self) -> None:
        run, document = self._run, self._run.document
        if "finished_at" in document and document["finished_at"] > document["created_at"]:
            return
        order = list(_in_order(run.spec["root"]["dag"]["tasks"]))
        run.ticks += 1
        if run.ticks == 1:
            document["state"] = "PENDING"
            return
        document["state"] = "RUNNING"
        failed = self._write(order[: run.ticks - 2], order[run.ticks - 2 : run.ticks - 1])
        if run.stopped or failed or run.ticks - 2 >= len(order):
            document["state"] = "FAILED" if failed or run.stopped else "SUCCEEDED"
            document["finished_at"] = self._at(10 * run.ticks)
        if run.stopped:
            document["state_history"] = [{"state": "CANCELING"}, {"state": "FAILED"}]
        if document["state"] != "RUNNING":
            for node in self._nodes:
                if node.get("state") in ("PENDING", "RUNNING") and not self._kfp.steps_stay_behind:
                    node.update(state=document["state"], end_time=document["finished_at"])
        document["run_details"] = {"task_details": [*self._nodes, {"start_time": NOT_YET, "execution_id": "7"}]}

    def _write(self, ended: list[str], running: list[str]) -> bool:
        root = self._node(self._kfp.WORKFLOW, "", "RUNNING", (0, None))
        root = self._node("root", f"{root}.", "RUNNING", (0, None))
        for number, key in enumerate(ended):
            step = self._kfp.steps.get(key, Step())
            if step.stuck:
                self._run.ticks -= 1
                running = [key]
                break
            self._step(root, key, step, number)
            if step.state == "FAILED":
                self._omitted(root, running)
                return True
        for key in running:
            self._node(f"{key}-driver", f"{root}.", "SUCCEEDED", (10 * len(ended), 10 * len(ended) + 5))
            name = self._node(key, f"{root}.", "RUNNING", (10 * len(ended) + 5, None))
            self._node("executor", f"{name}.", "PENDING", (10 * len(ended) + 5, None))
        return False

    def _step(self, root: str, key: str, step: Step, number: int) -> None:
        begin = 10 * number
        if step.driver_fails:
            name = self._node(f"{key}-driver", f"{root}.", "FAILED", (begin, begin + 2))
            self._run.logs[node_id(self._kfp.WORKFLOW, name)] = step.log or ""
            self._omitted(root, [key])
            return
        self._node(f"{key}-driver", f"{root}.", "SUCCEEDED", (begin, begin + 2))
        end = begin + 9
        name = self._node(key, f"{root}.", step.state, (begin + 3, end))
        executor = self._node("executor", f"{name}.", step.state, (begin + 3, end))
        if step.log is not None:
            self._run.logs[node_id(self._kfp.WORKFLOW, executor)] = step.log

    def _omitted(self, root: str, keys: list[str]) -> None:
        for key in keys:
            self._nodes.append({"display_name": key, "start_time": self._at(0), "end_time": self._at(0)})

    def _node(self, display: str, parent: str, state: str, times: tuple[int, int | None]) -> str:
        """Write a node down, and the one of its first try where it has such; the name of the innermost one."""
        name = f"{parent}{display}"
        names = [(name, display)]
        # A node that is left out is never tried.
        if self._kfp.tries_of_everything and state != "SKIPPED":
            names.append((f"{name}(0)", f"{display}(0)"))
        for number, (whole, shown) in enumerate(names):
            self._child_of(names[number - 1][0] if number else parent.removesuffix("."), whole)
            self._by_name[whole] = {
                "run_id": self._run.document["run_id"],
                "task_id": str(uuid.uuid4()),
                "display_name": shown,
                "state": state,
                "start_time": self._at(times[0]),
                "end_time": self._at(times[1]) if times[1] is not None else NOT_YET,
                "child_tasks": [],
            }
            self._nodes.append(self._by_name[whole])
        return names[-1][0]

    def _child_of(self, parent: str, name: str) -> None:
        if parent in self._by_name:
            self._by_name[parent]["child_tasks"].append({"pod_name": node_id(self._kfp.WORKFLOW, name)})

    def _at(self, seconds: int) -> str:
        return f"{self._start + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def _in_order(tasks: dict) -> list[str]:
    done: list[str] = []
    while len(done) < len(tasks):
        done += [
            key for key in sorted(tasks) if key not in done and set(tasks[key].get("dependentTasks", ())) <= set(done)
        ]
    # Groups of tasks under a condition are left out, as where it does not hold.
    return [key for key in done if not key.startswith("condition-")]


def node_id(workflow: str, name: str) -> str:
    code = 2166136261
    for byte in name.encode():
        code = ((code ^ byte) * 16777619) % 2**32
    return f"{workflow}-{code}"


def events(step: str, *, notes: tuple[str, ...] = (), **outcome: object) -> str:
    """The log of a step that went well."""
    return _log_of(
        {"step": step, "event": "started"},
        {"step": step, "event": "ended", "seconds": 1.0, "outcome": {"notes": list(notes), **outcome}},
    )


def failure(step: str, problem: str, hint: str) -> str:
    """The log of a step that failed with an error of ours."""
    started = {"step": step, "event": "started"}
    return _log_of(started, {"step": step, "event": "failed", "problem": problem, "do": hint}) + "Traceback …\n"


def _log_of(*documents: dict) -> str:
    own = "".join(f"\nrecycle-event {json.dumps(document)}\n" for document in documents)
    return f"I1123 20:17:27.980345      15 main.go:139] Setting log level to: '1'\n{own}"


@pytest.fixture
def kfp(monkeypatch, tmp_path):
    """A KFP that the commands find by its environment variable, without a cluster to look at."""
    for name in ("KFP_ENDPOINT", "KFP_NAMESPACE", "KFP_EXISTING_TOKEN", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "no-kubeconfig"))
    monkeypatch.setattr("pipelines.backend.following.POLL_S", 0.0)
    monkeypatch.setattr("pipelines.backend.following.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("pipelines.backend.following.LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr("pipelines.backend.following.LATE_S", 0.5)
    # Most tests compile the same, which takes longer than all the rest of them.
    monkeypatch.setattr(
        "pipelines.backend.compiled",
        lambda name, made, *, profile, settings: _compiled_once(name, made.model_dump_json(), profile, settings),
    )
    fake = FakeKfp()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", fake.url)
    yield fake
    fake.close()
