"""Buckets on a MinIO of one's own, and a user for each who reaches that one alone. Run by a Job of the manifests.

MINIO_ENDPOINT                          where MinIO is, such as http://minio:9000
MINIO_ROOT_USER, MINIO_ROOT_PASSWORD    who may make buckets and users
RECYCLE_BUCKET_USERS                    folder with a file `access-key` and a file `secret-key` under each bucket's name
"""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioException, S3Error

from components.errors import BadParameter, ServiceUnavailable
from components.system import RetryPolicy, retry

START_S = 300.0
WAIT_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BucketUser:
    """Who may use one bucket."""

    bucket: str
    access_key: str
    secret_key: str = field(repr=False)


def set_up(endpoint: str, root_user: str, root_password: str, users: list[BucketUser]) -> None:
    """Make buckets, users and their rights; what is there already stays, and a changed password is set.

    Args:
        endpoint: http://HOST:PORT or https://HOST:PORT.
        root_user: MinIO's administrator.
        root_password: their password.
        users: one for each bucket.

    Raises:
        ServiceUnavailable: MinIO does not answer, or not as one that may do this.
    """
    address = urlsplit(endpoint)
    secure = address.scheme == "https"
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=30), retries=False)
    client = Minio(
        address.netloc,
        access_key=root_user,
        secret_key=root_password,
        secure=secure,
        region="us-east-1",
        http_client=pool,
    )
    admin = MinioAdmin(
        endpoint=address.netloc,
        credentials=StaticProvider(root_user, root_password),
        region="us-east-1",
        secure=secure,
        http_client=pool,
    )
    try:
        _wait_for(client)
        for user in users:
            _set_up_one(client, admin, user)
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        # The message alone: what else the error holds can repeat a header with a signature.
        raise ServiceUnavailable(
            f"MinIO at {endpoint} did not do what was asked: {str(error).splitlines()[0][:300]}",
            hint="see whether it runs, and whether MINIO_ROOT_USER and MINIO_ROOT_PASSWORD are its own",
        ) from None


def _wait_for(client: Minio) -> None:
    """Wait for a MinIO that is still starting."""
    retry(
        client.list_buckets,
        RetryPolicy(first_wait_s=WAIT_S, longest_wait_s=WAIT_S, patience_s=START_S),
        (urllib3.exceptions.HTTPError, S3Error),
        tell=lambda error, waiting_s: logger.info("MinIO does not answer yet"),
        may_pass=lambda error: not (isinstance(error, S3Error) and error.response and error.response.status < 500),
    )


def _set_up_one(client: Minio, admin: MinioAdmin, user: BucketUser) -> None:
    if not client.bucket_exists(user.bucket):
        client.make_bucket(user.bucket)
    policy = f"only-{user.bucket}"
    admin.policy_add(policy, policy=_only(user.bucket))
    admin.user_add(user.access_key, user.secret_key)
    admin.policy_set(policy, user=user.access_key)
    logger.info("bucket %s, for the user %s alone", user.bucket, user.access_key)


def _only(bucket: str) -> dict[str, object]:
    """A policy that allows reading, writing and multipart uploads in one bucket."""
    location = f"arn:aws:s3:::{bucket}"
    on_bucket = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    on_objects = [
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": on_bucket, "Resource": [location]},
            {"Effect": "Allow", "Action": on_objects, "Resource": [f"{location}/*"]},
        ],
    }


def read_users(folder: Path) -> list[BucketUser]:
    """The users that a folder of mounted Secrets names.

    Raises:
        BadParameter: there is none, or a file is missing.
    """
    buckets = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not buckets:
        raise BadParameter(
            f"{folder} names no bucket", hint="mount a Secret with access-key and secret-key for each bucket"
        )
    try:
        return [
            BucketUser(
                bucket=bucket.name,
                access_key=(bucket / "access-key").read_text().strip(),
                secret_key=(bucket / "secret-key").read_text().strip(),
            )
            for bucket in buckets
        ]
    except OSError as error:
        raise BadParameter(f"{error.filename} cannot be read", hint="see what is mounted there") from None


def main() -> None:
    """Set up what the environment names."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    missing = [
        name for name in ("MINIO_ENDPOINT", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD") if not os.environ.get(name)
    ]
    if missing:
        raise SystemExit(f"{', '.join(missing)} must be set")
    try:
        users = read_users(Path(os.environ.get("RECYCLE_BUCKET_USERS", "/users")))
        set_up(os.environ["MINIO_ENDPOINT"], os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"], users)
    except (BadParameter, ServiceUnavailable) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
