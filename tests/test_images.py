"""What can be known of images without building them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.local.run import QUIET

ROOT = Path(__file__).parent.parent
IMAGES = sorted(path.parent.name for path in ROOT.glob("images/*/Dockerfile"))
COMMITS = {
    "eval": ("https://github.com/allenai/olmes", "b532dd59a71004d88f8152788d79cec617c8eff6"),
    "train": ("https://github.com/allenai/open-instruct", "e6c3044aa6201c8bfa4573c1b03142af599e730d"),
}


def instructions(image):
    """The Dockerfile's instructions as (name, rest), lines joined and comments left out."""
    text = (ROOT / "images" / image / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def words_of_smoke(image):
    """The modules that the smoke command imports in our own environment."""
    script = (ROOT / "images" / image / "smoke").read_text().replace("\\\n", " ")
    return re.search(r"recycle/\.venv/bin/python /opt/smoke\.py (.*)", script)[1].split()


def test_the_suites_for_llama_find_vllm_and_their_metrics_packages():
    lm_eval = re.search(r"^lm_eval==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    installs = [rest for name, rest in instructions("eval") if name == "RUN" and "lm-eval[" in rest]
    (install,) = installs
    assert f"'.[local]' 'lm-eval[ifeval,math,vllm]=={lm_eval}'" in install
    assert re.search(r"'vllm==[\d.]+'", install)
    assert {"vllm", "langdetect", "immutabledict", "nltk", "math_verify", "antlr4"} <= set(words_of_smoke("eval"))


def test_these_are_all():
    assert IMAGES == ["eval", "minio", "mlflow", "runtime", "train"]


@pytest.mark.parametrize("image", IMAGES)
class TestImage:
    def test_what_it_copies_is_there_and_sent_to_the_builder(self, image):
        sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        stages = [rest.split()[-1] for name, rest in instructions(image) if name == "FROM" and " AS " in rest]
        copied = [rest.split() for name, rest in instructions(image) if name == "COPY"]
        assert copied
        for words in copied:
            if words[0].startswith("--from="):
                source = words[0].removeprefix("--from=")
                assert source in stages or re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", source), source
                continue
            for source in words[:-1]:
                if (image, source) == ("minio", "minio"):
                    continue  # from its own folder, where whoever builds it that way puts it
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] in sent, source

    def test_the_bases_are_arguments_with_a_tag(self, image):
        arguments = dict(rest.split("=") for name, rest in instructions(image) if name == "ARG" and "=" in rest)
        stages = [rest.split()[-1] for name, rest in instructions(image) if name == "FROM" and " AS " in rest]
        bases = [rest.split()[0] for name, rest in instructions(image) if name == "FROM"]
        for base in bases:
            name = re.fullmatch(r"\$\{(\w+)\}", base)[1]
            assert arguments[name] in stages or re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", arguments[name]), base

    def test_a_code_change_installs_nothing_anew(self, image):
        if image in ("minio", "mlflow"):
            pytest.skip("it has no code of ours")
        steps = [(name, rest) for name, rest in instructions(image) if name in ("ARG", "COPY", "RUN")]
        installs = max(n for n, (_, rest) in enumerate(steps) if "pip install" in rest)
        code = min(
            n for n, (_, rest) in enumerate(steps) if rest.endswith("/opt/recycle/src") or "src/components" in rest
        )
        if image != "runtime":
            assert installs < code
        names = [rest.split("=")[0] for _, rest in steps[:installs]]
        assert not {"VERSION", "REVISION"} & set(names), "each commit would install everything anew"

    def test_steps_are_as_quiet_in_it_as_on_one_machine(self, image):
        if image in ("minio", "mlflow"):
            pytest.skip("no step runs in it")
        set_there = dict(
            pair.split("=", 1) for name, rest in instructions(image) if name == "ENV" for pair in rest.split()
        )
        assert set_there == set_there | QUIET

    def test_it_does_not_run_as_root(self, image):
        users = [number for number, (name, _) in enumerate(instructions(image)) if name == "USER"]
        (user,) = users
        assert instructions(image)[user][1] == "10001:10001"
        assert not {"RUN", "COPY"} & {name for name, _ in instructions(image)[user:]}

    def test_it_says_what_it_is(self, image):
        labels = dict(
            pair.split("=", 1) for name, rest in instructions(image) if name == "LABEL" for pair in shlex.split(rest)
        )
        for label in ("title", "description", "version", "revision", "licenses", "base.name"):
            assert labels[f"org.opencontainers.image.{label}"]

    def test_no_secret_and_no_download_that_runs(self, image):
        text = (ROOT / "images" / image / "Dockerfile").read_text()
        assert not re.search(r"TOKEN(?!IZERS)|PASSWORD|SECRET|curl|wget|\| *(ba)?sh\b", text)


@pytest.mark.parametrize("image", sorted(COMMITS))
class TestImageOfAnotherProgram:
    def test_the_base_has_a_compiler(self, image):
        name, base = instructions(image)[0]
        assert name == "ARG"
        assert re.fullmatch(r"CUDA_IMAGE=[\w./-]+:[\w.-]*devel[\w.-]*", base)

    def test_the_program_is_at_a_pinned_commit(self, image):
        address, commit = COMMITS[image]
        arguments = [rest for name, rest in instructions(image) if name == "ARG"]
        assert [rest.split("=")[1] for rest in arguments if "_COMMIT=" in rest] == [commit]
        (fetch,) = [rest for name, rest in instructions(image) if name == "RUN" and "git fetch" in rest]
        assert re.search(rf"git fetch .*{re.escape(address)} \$\{{\w+_COMMIT\}}", fetch)
        assert "git clone" not in fetch

    def test_it_has_two_environments_and_ours_comes_first(self, image):
        text = (ROOT / "images" / image / "Dockerfile").read_text()
        assert "uv venv --python 3.11 .venv" in text
        assert "--constraint constraints.txt '.[local]'" in text
        assert "PATH=/opt/recycle/.venv/bin:${PATH}" in text

    def test_the_smoke_command_is_a_sound_script(self, image):
        script = ROOT / "images" / image / "smoke"
        assert script.stat().st_mode & 0o111
        subprocess.run(["sh", "-n", script], check=True)
        ours = words_of_smoke(image)
        for module in ours:
            if module.startswith("components."):
                assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def test_the_smoke_program_tells_versions_and_what_is_missing():
    smoke = ROOT / "images" / "smoke.py"
    good = subprocess.run([sys.executable, smoke, "json", "pydantic"], capture_output=True, text=True, check=True)
    assert re.search(r"^pydantic: 2\.", good.stdout, re.MULTILINE)
    assert "json: from source" in good.stdout
    bad = subprocess.run([sys.executable, smoke, "no_such_module"], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "no_such_module: ModuleNotFoundError" in bad.stdout


@pytest.mark.parametrize("path", sorted(ROOT.glob("images/*/*.txt")), ids=lambda path: path.name)
def test_requirements_are_sound_and_name_each_package_once(path):
    from packaging.requirements import Requirement

    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "--"))]
    names = [Requirement(line).name.lower() for line in lines]
    assert len(set(names)) == len(names)


class TestBuild:
    """The program `images/build`, with a builder that only tells what it was asked."""

    def build(self, tmp_path, *names, builder="docker", **environment):
        fake = tmp_path / builder
        fake.write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        fake.chmod(0o755)
        done = subprocess.run(
            [ROOT / "images" / "build", *names],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def test_each_image_has_its_tag_and_its_context(self, tmp_path):
        code, told = self.build(tmp_path, "runtime", "minio", OPTIONS="--build-arg TORCH_INDEX=")
        assert code == 0
        assert re.search(
            r"^docker build --tag recycle/runtime:0.1.0 --file images/runtime/Dockerfile --build-arg VERSION=0.1.0 "
            r"--build-arg REVISION=\w+ --build-arg TORCH_INDEX= \.$",
            told,
            re.MULTILINE,
        )
        assert re.search(r"^docker build --tag recycle/minio:0.1.0 .* images/minio$", told, re.MULTILINE)

    def test_buildah_builds_too(self, tmp_path):
        _, told = self.build(tmp_path, "mlflow", builder="buildah", BUILDER="buildah", REGISTRY="ghcr.io/acme/")
        assert "buildah bud --layers --tag ghcr.io/acme/recycle/mlflow:0.1.0" in told

    def test_an_unknown_image_is_told(self, tmp_path):
        code, told = self.build(tmp_path, "runtme")
        assert code == 2
        assert "no image is named 'runtme'" in told
        assert "runtime" in told

    def test_no_builder_is_told(self, tmp_path):
        code, told = self.build(tmp_path, "runtime", BUILDER="not-there")
        assert code == 1
        assert "install one" in told
