"""Kubeflow Pipelines' API: reached as KFP's own client reaches it, with errors of our family."""

import contextlib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kfp
import kfp_server_api
import urllib3
from kfp.client.client import KF_PIPELINES_ENDPOINT_ENV, KF_PIPELINES_UI_ENDPOINT_ENV

from components.errors import BadParameter, OutputConflict, RecycleError, ServiceUnavailable
from pipelines.backend.cluster import KFP_NAMESPACE, NotSeen, connect_cluster

TOKEN = "KFP_EXISTING_TOKEN"  # noqa: S105 - the variable's name, which the `kfp` command reads too
IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""What tells that this runs in a pod, where KFP's API is a service."""
TIMEOUT_S = (5, 60)
"""To connect, and between two pieces of an answer."""
PAGE = 100
BEGINS = "/apis/v2beta1"
AGAIN = (408, 429, 502, 503, 504)
"""Statuses of an API, or of a gateway before it, that is not there just now."""
HEALTH = {"multi_user", "apiServerReady", "frontendTagName"}
"""Of these, the API server's or its UI's answer about its health has one; the UI passes the rest on."""


class NoAnswer(ServiceUnavailable):
    """The API gave no answer of its own; another try may get one."""


class _Client(kfp.Client):  # type: ignore[misc] # kfp has no types
    def _load_config(self, *arguments: Any) -> kfp_server_api.Configuration:  # noqa: ANN401 - kfp's own
        config = super()._load_config(*arguments)
        # The default tries again at once, which lets nothing recover and doubles the wait for a dead address.
        config.retries = urllib3.Retry(connect=0, read=0, redirect=3)
        if config.refresh_api_key_hook is not None:
            _stay(config, config.refresh_api_key_hook, config.host)
        return config

    def get_kfp_healthz(self, sleep_duration: int = 5) -> kfp_server_api.V2beta1GetHealthzResponse:
        """Ask once and quietly: `Api` asks again and reports what is wrong; the original logs tracebacks."""
        try:
            return self._healthz_api.healthz_service_get_healthz(_request_timeout=TIMEOUT_S)
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError):
            return kfp_server_api.V2beta1GetHealthzResponse()


def _stay(config: kfp_server_api.Configuration, refresh: Callable[[Any], None], host: str) -> None:
    """Keep the way to KFP through a cluster, which the kubeconfig's own refresh of tokens takes out of the address."""

    def refreshed(changed: kfp_server_api.Configuration) -> None:
        refresh(changed)
        changed.host, changed.refresh_api_key_hook = host, refreshed

    config.refresh_api_key_hook = refreshed


class Api:
    """A KFP back end."""

    def __init__(self, client: kfp.Client, namespace: str = "") -> None:
        """Ask it what it is.

        Args:
            client: the way to it.
            namespace: the user's, where it has many; empty for the one that the client knows.

        Raises:
            RecycleError: it does not answer as KFP does, or is in multi-user mode and no namespace was given.
        """
        self._http = client._run_api.api_client
        self.host: str = self._http.configuration.host
        self.namespace = ""
        """The namespace that requests must name; empty in single-user mode, which takes none."""
        health = self._health()
        self.ui = os.environ.get(KF_PIPELINES_UI_ENDPOINT_ENV, self.host if "apiServerReady" in health else "")
        """Where people look, empty where that is not known."""
        if health.get("multi_user"):
            self.namespace = namespace or client.get_user_namespace()
        if health.get("multi_user") and not self.namespace:
            raise BadParameter(
                f"the Kubeflow Pipelines at {self.host} is in multi-user mode, and no namespace was given",
                hint="give your profile's with --namespace or KFP_NAMESPACE",
            )

    @property
    def owner(self) -> dict[str, str]:
        """The namespace as requests name it, nothing where they must not."""
        return {"namespace": self.namespace} if self.namespace else {}

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """What the API says of the thing at `path`.

        Raises:
            BadParameter: there is no such thing.
            RecycleError: see `post`.
        """
        return self._document(self._call("GET", BEGINS + path, query=query))

    def find(self, path: str, **query: object) -> dict[str, Any] | None:
        """What `get` gives, or None where there is no such thing."""
        try:
            return self.get(path, **query)
        except _NotFound:
            return None

    def pages(
        self, path: str, key: str, *, size: int = PAGE, owned: bool = False, **query: object
    ) -> Iterator[dict[str, Any]]:
        """All things of a listing, fetched as they are taken.

        Args:
            path: of the listing.
            key: what the pages carry them under.
            size: how many a page has.
            owned: whether the listing is one of a namespace's.
            query: the rest of what is asked.
        """
        query |= self.owner if owned else {}
        token: str | None = ""
        while token is not None:
            page = self.get(path, page_size=size, **({"page_token": token} if token else {}), **query)
            yield from page.get(key, [])
            token = page.get("next_page_token") or None

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make or change something.

        Raises:
            BadParameter: the API does not take what was asked, or knows nothing of the thing.
            OutputConflict: there is one of that name already.
            NoAnswer: it did not answer.
            ServiceUnavailable: it answers with another error, or refuses for want of rights.
        """
        return self._document(self._call("POST", BEGINS + path, body=dict(body)))

    def upload(self, path: str, file: Path, **query: object) -> dict[str, Any]:
        """Post a file, see `post`."""
        return self._document(self._call("POST", BEGINS + path, query=query, files={"uploadfile": str(file)}))

    def delete(self, path: str) -> None:
        """Remove something."""
        self._call("DELETE", BEGINS + path)

    def log(self, run_id: str, node: str) -> str | None:
        """What a node of a run wrote, None where the API gives no log of it; its UI never does."""
        path = f"/apis/v1alpha1/runs/{quote(run_id)}/nodes/{quote(node)}/log"
        try:
            response = self._call("GET", path)
        except (ServiceUnavailable, BadParameter):
            return None
        text = str(response.data.decode("utf-8", "replace"))
        return None if _is_page(response) or _is_error(text) else text

    def _health(self) -> dict[str, Any]:
        try:
            health = self.get("/healthz")
        except _NotFound as error:
            what = (
                "is MLflow's address, not Kubeflow Pipelines'"
                if self._is_mlflow()
                else (f"is not Kubeflow Pipelines' address: {error.problem}")
            )
            raise self._stranger(what) from None
        if not HEALTH & set(health):
            raise self._stranger("answers, but not as Kubeflow Pipelines does")
        return health

    def _is_mlflow(self) -> bool:
        """Whether an MLflow server answers here, which tells its version where KFP has nothing."""
        try:
            version = self._call("GET", "/version").data.decode("utf-8", "replace")
        except RecycleError:
            return False
        return bool(re.fullmatch(r"\d+\.\d+\.\d+\S*", version.strip()))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        files: Mapping[str, str] | None = None,
    ) -> urllib3.HTTPResponse:
        headers = {
            "Accept": "application/json",
            "Content-Type": "multipart/form-data" if files else "application/json",
        }
        try:
            response: urllib3.HTTPResponse = self._http.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                files=files,
                auth_settings=["Bearer"],
                _preload_content=False,
                _request_timeout=TIMEOUT_S,
            )
            response.read(cache_content=True)
        except kfp_server_api.ApiException as error:
            raise self._refusal(error) from None
        except (urllib3.exceptions.HTTPError, UnicodeDecodeError) as error:
            raise self._no_answer(_reason(error)) from None
        return response

    def _document(self, response: urllib3.HTTPResponse) -> dict[str, Any]:
        try:
            found = json.loads(response.data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            what = "answers with a web page" if _is_page(response) else "answers, but not as Kubeflow Pipelines does"
            raise self._stranger(what)
        return found

    def _stranger(self, what: str) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"{self.host} {what}",
            hint=f"give the API's address with --endpoint or {KF_PIPELINES_ENDPOINT_ENV}; where a login page stands "
            f"before it, a token in {TOKEN}",
        )

    def _no_answer(self, why: str) -> NoAnswer:
        return NoAnswer(
            f"Kubeflow Pipelines does not answer at {self.host}: {why}",
            hint=f"check the address (--endpoint, {KF_PIPELINES_ENDPOINT_ENV}; http:// or https:// belongs to it) and "
            "that the port is forwarded",
        )

    def _refusal(self, error: kfp_server_api.ApiException) -> Exception:
        if not error.status:
            return self._no_answer(" ".join(str(error.reason).split()))
        said = _message(error)
        if error.status in AGAIN:
            return self._no_answer(f"status {error.status}, {said}")
        if error.status in (401, 403):
            return ServiceUnavailable(
                f"Kubeflow Pipelines at {self.host} refuses (status {error.status}): {said}",
                hint=f"put a token that it takes into {TOKEN}, or ask for rights"
                + (f" in the namespace {self.namespace}" if self.namespace else ""),
            )
        if error.status == 404:
            return _NotFound(said, hint="look for it with `recycle runs` or `recycle schedule list`, or at --endpoint")
        if error.status == 409:
            return OutputConflict(said, hint="run the same command again")
        if error.status == 400:
            return BadParameter(f"Kubeflow Pipelines refuses: {said}", hint="correct what it names")
        return ServiceUnavailable(
            f"Kubeflow Pipelines at {self.host} answers with status {error.status}: {said}",
            hint="look into the log of its API server (deployment ml-pipeline)",
        )


class _NotFound(BadParameter):
    """The API knows nothing of what was named."""


def connect(endpoint: str | None, namespace: str) -> Api:
    """Reach a KFP back end as `kfp.Client` does: at an address, through the kubeconfig, or inside the cluster.

    Args:
        endpoint: its address; None to go through the cluster that kubectl uses, or that this runs in.
        namespace: where it runs, which without an address is kubeflow; with a multi-user KFP, theirs.

    Raises:
        RecycleError: there is no KFP to be reached.
    """
    token = os.environ.get(TOKEN)
    if not endpoint and token and IN_CLUSTER.exists():
        endpoint = f"http://{kfp.Client._IN_CLUSTER_DNS_NAME.format(KFP_NAMESPACE)}"
    if not endpoint:
        # Kubernetes' API server, which the way leads through, takes its own credentials and passes no others on; with
        # a token kfp's client would look for KFP on this machine instead.
        token = None
        try:
            connect_cluster(namespace)
        except NotSeen as error:
            raise BadParameter(
                f"no Kubeflow Pipelines was named, and {error.problem}",
                hint=f"give its address with --endpoint or {KF_PIPELINES_ENDPOINT_ENV}, such as http://localhost:8888 "
                "after `kubectl -n kubeflow port-forward svc/ml-pipeline 8888`",
            ) from None
    # A connection that fails is reported once, by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        # The client's own argument of that name would be a part of the way through a cluster too.
        client = _Client(host=endpoint, namespace=KFP_NAMESPACE, existing_token=token)
    api = Api(client, namespace if namespace != KFP_NAMESPACE else "")
    if not endpoint and not api.namespace and namespace != KFP_NAMESPACE:
        raise BadParameter(
            f"the Kubeflow Pipelines at {api.host} is in single-user mode: its runs are in {KFP_NAMESPACE}, not in "
            f"{namespace}",
            hint="leave --namespace and KFP_NAMESPACE out, or give the address of another with --endpoint",
        )
    return api


def _reason(error: Exception) -> str:
    text = str(getattr(error, "reason", None) or error)
    return re.sub(r"^\w+\(host=.*?\): ", "", " ".join(text.split()))


def _message(error: kfp_server_api.ApiException) -> str:
    """The shortest text of the API's that says what was wrong."""
    try:
        document = json.loads(error.body)
    except ValueError:
        return str(error.reason)
    if not isinstance(document, dict):
        return str(error.reason)
    details = [detail.get("message", "") for detail in document.get("details") or [] if isinstance(detail, dict)]
    # Where the server is at fault, the detail is a mere "Internal Server Error".
    precise = details[0] if details and error.status < 500 else ""
    return str(precise or document.get("message") or document.get("error_message") or error.reason)


def _is_error(text: str) -> bool:
    """Whether the API answers with an error in place of a log, as it does with status 200."""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return False
    return isinstance(found, dict) and "error_message" in found


def _is_page(response: urllib3.HTTPResponse) -> bool:
    return "html" in response.headers.get("content-type", "")
