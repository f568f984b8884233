"""The connection to an S3 server: where it is, and with whose credentials.

AWS_ENDPOINT_URL_S3    the server (or AWS_ENDPOINT_URL; default AWS's own)
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION

One client for everything, the one of MinIO's authors: an upload that goes on after a kill needs the multipart calls
one by one. (Where two clients were measured side by side, the server was the limit of both.)
"""

import os
import re
from functools import cache
from typing import TYPE_CHECKING

from components.errors import BadParameter
from components.system import is_link_local

if TYPE_CHECKING:
    from minio import Minio

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
"""A connection that gives no byte for so long is given up."""
CONNECTIONS = 64
REGION = "us-east-1"

_ENDPOINT = re.compile(
    r"(?P<scheme>https?)://(?P<host_and_port>(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)/?", re.ASCII
)


def site() -> str:
    """The server's address, as errors name it."""
    match = _ENDPOINT.fullmatch(_endpoint())
    return f"{match['scheme']}://{match['host_and_port']}" if match else "S3"


def client() -> "Minio":
    """The client of the server that the environment names now.

    Raises:
        BadParameter: it names none, or one that we do not talk to, or no credentials.
    """
    environment = os.environ
    return connect(
        _endpoint(),
        environment.get("AWS_ACCESS_KEY_ID") or "",
        environment.get("AWS_SECRET_ACCESS_KEY") or "",
        environment.get("AWS_SESSION_TOKEN") or None,
        environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or REGION,
    )


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"


@cache
def connect(endpoint: str, key: str, secret: str, token: str | None, region: str) -> "Minio":
    """The client of a server, one for all who name the same (see `client`)."""
    import urllib3
    from minio import Minio

    match = _ENDPOINT.fullmatch(endpoint)
    if match is None:
        raise BadParameter(
            "AWS_ENDPOINT_URL_S3 is not the address of an S3 server",
            hint="set it to http(s)://host:port, without a path",
        )
    host = match["host"].strip("[]")
    if is_link_local(host):
        raise BadParameter(f"AWS_ENDPOINT_URL_S3 names the link-local address {host}", hint="name the S3 server")
    if not key or not secret:
        raise BadParameter("no credentials for S3 are set", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    # Redirects are not followed: the credentials are for the server that was named.
    pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout, retries=urllib3.Retry(0, redirect=0))
    return Minio(
        match["host_and_port"],
        access_key=key,
        secret_key=secret,
        session_token=token,
        secure=match["scheme"] == "https",
        region=region,
        http_client=pool,
    )
