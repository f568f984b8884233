import pytest
from minio import Minio
from minio.error import S3Error

from components.errors import BadParameter, ServiceUnavailable
from components.references.save import save_checkpoint
from components.s3.bucket import Bucket
from components.s3.setup import BucketUser, read_users, set_up
from components.store.store import open_store
from tests.support.minio_server import KEY, SECRET, use_server
from tests.support.tinymodels import make_checkpoint

USERS = [
    BucketUser(bucket="team-store", access_key="team-steps", secret_key="steps-secret-1"),
    BucketUser(bucket="team-mlflow", access_key="team-mlflow", secret_key="mlflow-secret-1"),
]


@pytest.fixture
def ready(minio):
    set_up(minio.endpoint, KEY, SECRET, USERS)
    return minio


def as_user(server, user):
    return Minio(
        server.endpoint.removeprefix("http://"),
        access_key=user.access_key,
        secret_key=user.secret_key,
        secure=False,
        region="us-east-1",
    )


def test_a_second_time_changes_nothing_and_a_new_password_counts(ready):
    set_up(ready.endpoint, KEY, SECRET, USERS)
    changed = BucketUser(bucket="team-store", access_key="team-steps", secret_key="another-secret-2")
    set_up(ready.endpoint, KEY, SECRET, [changed])
    assert as_user(ready, changed).bucket_exists("team-store")
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        list(as_user(ready, USERS[0]).list_objects("team-store"))


@pytest.mark.parametrize(("user", "foreign"), [(USERS[0], "team-mlflow"), (USERS[1], "team-store")])
def test_a_user_reaches_one_bucket_alone(ready, user, foreign):
    client = as_user(ready, user)
    assert list(client.list_objects(user.bucket)) == []
    for use in (
        lambda: list(client.list_objects(foreign)),
        lambda: client.get_object(foreign, "x"),
        lambda: client.make_bucket("another"),
        lambda: client.remove_bucket(user.bucket),
    ):
        with pytest.raises(S3Error, match="AccessDenied"):
            use()


def test_the_rights_suffice_for_a_store(ready, tmp_path, monkeypatch):
    use_server(ready, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USERS[0].access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", USERS[0].secret_key)
    place = Bucket("team-store", "store")
    monkeypatch.setenv("RECYCLE_STORE", place.uri)
    store = open_store()
    saved = save_checkpoint(str(make_checkpoint(tmp_path / "model")), store)
    assert save_checkpoint(saved.uri, store).digest == saved.digest
    assert [entry.key for entry in place.objects() if entry.key.endswith("checkpoint.json")]


def test_a_wrong_password_is_told_without_repeating_it(minio):
    with pytest.raises(ServiceUnavailable, match="MINIO_ROOT_PASSWORD") as failure:
        set_up(minio.endpoint, KEY, "wrong-secret-9", USERS)
    assert "wrong-secret-9" not in str(failure.value)


def test_a_minio_that_never_answers_is_told(monkeypatch):
    monkeypatch.setattr("components.s3.setup.START_S", 0.1)
    with pytest.raises(ServiceUnavailable, match="see whether it runs"):
        set_up("http://127.0.0.1:9", KEY, SECRET, USERS)


def test_users_are_read_from_mounted_secrets(tmp_path):
    for bucket in ("b", "a"):
        (tmp_path / bucket).mkdir()
        (tmp_path / bucket / "access-key").write_text(f"{bucket}-user\n")
        (tmp_path / bucket / "secret-key").write_text(f"{bucket}-secret\n")
    assert read_users(tmp_path) == [
        BucketUser(bucket="a", access_key="a-user", secret_key="a-secret"),
        BucketUser(bucket="b", access_key="b-user", secret_key="b-secret"),
    ]
    (tmp_path / "b" / "secret-key").unlink()
    with pytest.raises(BadParameter, match="b/secret-key"):
        read_users(tmp_path)
    with pytest.raises(BadParameter, match="names no bucket"):
        read_users(tmp_path / "nothing")
