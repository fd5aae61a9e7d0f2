"""What surrounds the code says what is so: workflows, Dockerfile, citation, versions."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from siamese.cli.main import _parsers

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflows_may_do_little_and_end(path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        writes = [key for key, value in job.get("permissions", {}).items() if value == "write"]
        assert not writes or name == "publish"
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "uses" not in step or re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", step["uses"])
        if name != "publish":
            assert job["timeout-minutes"] <= 60


def test_what_workflows_make_is_a_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = {
        target
        for path in WORKFLOWS
        for target in re.findall(r"run: make ([\w-]+)", path.read_text(encoding="utf-8"))
    }
    assert {"test", "test-slow", "docs", "package"} <= asked
    for target in asked:
        assert re.search(rf"^{target}( [\w-]+)*:", makefile, flags=re.MULTILINE), target


def test_the_oldest_python_is_tested():
    matrix = read(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={matrix[0]}"
    classified = re.findall(r":: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert set(classified) <= set(matrix)


def test_every_dependency_has_a_lower_bound_that_the_minimum_job_can_take():
    """Without one, the job would try the first version there ever was."""
    extras = PROJECT["optional-dependencies"]
    for wanted in [*PROJECT["dependencies"], *(d for each in extras.values() for d in each)]:
        assert re.search(r">=|==", wanted) or wanted.startswith("siamese-lightning["), wanted


def test_the_citation_is_of_this_version():
    citation = read("CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_who_installs_takes_the_torch_that_is_pinned():
    """Another one would be replaced by that for GPUs, of several GB, in the next line."""
    pinned = re.search(
        r"^torch==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )[0]
    for name in ("README.md", "docs/install.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert f"pip install {pinned} --index-url https://download.pytorch.org/whl/cpu" in text


def test_the_image_is_built_from_files_that_are_there_and_starts_the_page():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE)
        for name in line.split()
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    (words,) = re.findall(r"^ENTRYPOINT \[(.*)\]$", text, flags=re.MULTILINE)
    command = [word.strip(' "') for word in words.split(",")]
    args = _parsers("app")[0].parse_args([*command[1:], "pretrained"])
    assert (args.host, args.port) == ("0.0.0.0", 8000)
    assert f"EXPOSE {args.port}" in text
    assert "USER siamese" in text
    extras = re.search(r"'\.\[(.*)\]'", text)[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_hooks_before_a_commit_run_what_lint_runs():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    lint = re.search(
        r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )[1]
    for tool in re.findall(r"\$\(BIN\)/(\w+)", lint):
        assert any(entry.startswith(f".venv/bin/{tool}") for entry in entries), tool
    for name in re.findall(r"tests/\w+\.py", " ".join(entries)):
        assert (ROOT / name).exists()
