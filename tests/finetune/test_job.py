import pytest

from components.finetune.job import COMPLETE, job_folder, last_complete, mark_complete


def write(job, step, *, complete):
    checkpoint = job / f"checkpoint-{step}"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"w" * step)
    if complete:
        mark_complete(checkpoint)
    return checkpoint


@pytest.fixture
def job(tmp_path):
    return job_folder(tmp_path, {"seed": 1})


def test_before_the_first_checkpoint(job):
    assert last_complete(job) is None


def test_the_newest_by_step_and_not_by_name(job):
    write(job, 9, complete=True)
    newest = write(job, 100, complete=True)
    assert last_complete(job) == newest


def test_a_half_written_checkpoint_is_removed(job):
    good = write(job, 10, complete=True)
    half = write(job, 20, complete=False)
    assert last_complete(job) == good
    assert not half.exists()


def test_only_the_last_complete_one_is_kept(job):
    old = write(job, 10, complete=True)
    assert old.exists()
    write(job, 20, complete=True)
    assert not old.exists()


def test_a_kill_while_the_old_one_is_dropped(job, monkeypatch):
    old, new = write(job, 10, complete=True), write(job, 20, complete=False)
    monkeypatch.setattr("components.finetune.job.discard", lambda folder: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        mark_complete(new)
    monkeypatch.undo()
    assert not (old / COMPLETE).exists()
    assert last_complete(job) == new


def test_another_job_starts_afresh(tmp_path, job):
    write(job, 10, complete=True)
    assert job_folder(tmp_path, {"seed": 1}) == job
    assert last_complete(job) is not None
    other = job_folder(tmp_path, {"seed": 2})
    assert last_complete(other) is None
    assert not job.exists()
