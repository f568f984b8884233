import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from components.errors import ProgramFailed
from components.system import programs

ROOT = Path(__file__).parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def test_output_is_streamed_in_order_to_the_log_and_the_listener(tmp_path):
    seen = []
    programs.run_program(
        python("""
            import sys
            print("one", flush=True); print("two", file=sys.stderr, flush=True); print("drei ✓", end="")
        """),
        log=tmp_path / "logs" / "a.log",
        env={"PYTHONIOENCODING": "utf-8"},
        on_line=seen.append,
    )
    assert seen == ["one", "two", "drei ✓"]
    assert (tmp_path / "logs" / "a.log").read_text(encoding="utf-8").splitlines() == seen


def test_a_line_arrives_before_the_program_ends():
    arrived = []
    programs.run_program(
        python("import time; print('early', flush=True); time.sleep(0.8); print('late', flush=True)"),
        on_line=lambda line: arrived.append((line, time.monotonic())),
    )
    assert [line for line, _ in arrived] == ["early", "late"]
    assert arrived[1][1] - arrived[0][1] > 0.5


def test_a_progress_bar_becomes_few_lines():
    seen = []
    programs.run_program(
        python("""
            import sys, time
            for step in range(200):
                sys.stderr.write(f"\\r{step}/200"); sys.stderr.flush(); time.sleep(0.001)
            sys.stderr.write("\\r200/200\\n"); print("end\\r\\nnext")
        """),
        on_line=seen.append,
    )
    assert seen[-3:] == ["200/200", "end", "next"]
    assert len(seen) <= 5


def test_an_endless_line_does_not_fill_memory():
    seen = []
    programs.run_program(python("print('x' * 1_000_000)"), on_line=seen.append)
    assert sum(map(len, seen)) == 1_000_000
    assert max(map(len, seen)) <= 2 * programs.MAX_LINE_BYTES


def test_environment_and_working_directory_reach_the_program(tmp_path):
    seen = []
    programs.run_program(
        python("import os; print(os.environ['COLOUR'], os.getcwd(), bool(os.environ['PATH']))"),
        env={"COLOUR": "mauve"},
        cwd=tmp_path,
        on_line=seen.append,
    )
    assert seen == [f"mauve {tmp_path.resolve()} True"]


def test_a_failure_tells_the_exit_code_and_the_last_lines(tmp_path):
    command = python("for i in range(100): print('line', i)\nraise SystemExit(7)")
    with pytest.raises(ProgramFailed) as failure:
        programs.run_program(command, log=tmp_path / "out.log")
    text = str(failure.value)
    assert "exit code 7" in text
    assert "line 99" in text
    assert "line 80\n" in text
    assert "line 79\n" not in text
    assert str(tmp_path / "out.log") in text


def test_a_killed_program_is_likely_out_of_memory():
    with pytest.raises(ProgramFailed, match="SIGKILL, likely because it ran out of memory"):
        programs.run_program(python("import os; os.kill(os.getpid(), 9)"))


def test_another_signal_is_named():
    with pytest.raises(ProgramFailed, match="SIGSEGV"):
        programs.run_program(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))


def test_a_program_that_is_not_there():
    with pytest.raises(ProgramFailed, match="no-such-program could not be started"):
        programs.run_program(["no-such-program"])


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "password", "MLFLOW_TRACKING_PASSWORD"])
def test_secrets_stay_out_of_errors_and_logs(tmp_path, monkeypatch, name):
    monkeypatch.setenv("OTHER_TOKEN", "from-outside-0815")
    with pytest.raises(ProgramFailed) as failure:
        programs.run_program(
            python(f"""
                import os
                print("the key is", os.environ["{name}"], os.environ["OTHER_TOKEN"], "http://me:hunter2@host/x")
                raise SystemExit("planted-4711")
            """),
            env={name: "planted-4711"},
            log=tmp_path / "log",
        )
    for text in (str(failure.value), (tmp_path / "log").read_text()):
        assert "the key is *** *** http://me:***@host/x" in text
        assert "planted-4711" not in text
        assert "hunter2" not in text


def test_no_shell_looks_at_the_arguments():
    seen = []
    programs.run_program([*python("import sys; print(sys.argv[1])"), "$HOME; echo `id` 'x"], on_line=seen.append)
    assert seen == ["$HOME; echo `id` 'x"]


def test_what_the_program_leaves_in_the_background_neither_blocks_nor_stays():
    seen = []
    started = time.monotonic()
    programs.run_program(
        python("""
            import subprocess, sys
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            print(child.pid)
        """),
        on_line=seen.append,
    )
    assert time.monotonic() - started < 20
    assert _ends(int(seen[0]))


def test_a_listener_that_fails_ends_the_program():
    pids = []

    def fail(line: str) -> None:
        pids.append(int(line))
        raise RuntimeError("listener")

    with pytest.raises(RuntimeError, match="listener"):
        programs.run_program(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"), on_line=fail)
    assert _ends(pids[0])


PARENT = """
import sys, time
from components.system import programs
programs.GRACE_SECONDS = {grace}
programs.run_program([sys.executable, "-c", {child!r}], on_line=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize(("number", "returncode"), [(signal.SIGTERM, -15), (signal.SIGINT, -2)])
def test_a_signal_reaches_the_program_and_then_takes_its_usual_effect(number, returncode):
    child = """
import signal, sys, time
def leave(number, frame):
    print("cleaning up after", number, flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, leave); signal.signal(signal.SIGINT, leave)
print("ready", flush=True)
time.sleep(60)
"""
    parent = _start(PARENT.format(grace=30, child=child))
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(number)
    output, _ = parent.communicate(timeout=30)
    assert output == f"cleaning up after {int(number)}\n"
    assert parent.returncode == returncode


def test_a_program_that_ignores_the_signal_is_killed_after_the_grace():
    child = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(60)
"""
    parent = _start(PARENT.format(grace=0.5, child=child))
    pid = int(parent.stdout.readline())
    parent.terminate()
    parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGTERM
    assert _ends(pid)


def _start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _ends(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
