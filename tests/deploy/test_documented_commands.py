"""The commands of docs/kubernetes.md, as bash and zsh give them to kubectl."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.doctor.cluster.secret_checks import wanted
from deploy.doctor.operators.known import GATEWAYS, KUBERAY, PROMETHEUS_ENTERS
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import CHECKOUT

DOCUMENT = (CHECKOUT / "docs" / "kubernetes.md").read_text()
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile"],
    # As in a window: pasted comments and unquoted variables are not what they are in bash.
    "zsh": ["zsh", "-f", "-i"],
}
# Gives what it is asked for from the folder, and keeps what it is asked.
KUBECTL = f"""#!{sys.executable}
import json, os, pathlib, sys
there = pathlib.Path(os.environ["THERE"])
arguments = sys.argv[1:]
text = sys.stdin.read() if arguments[-2:] == ["-f", "-"] else ""
with open(there / "calls", "a") as file:
    file.write(json.dumps([arguments, text]) + "\\n")
if "get" in arguments:
    name = arguments[arguments.index("get") + 1]
    kept = there / name.replace("/", ".")
    if kept.is_file():
        print(name if arguments[-1] == "name" else kept.read_text())
    elif "--ignore-not-found" not in arguments:
        sys.exit(f"Error from server (NotFound): {{name}} not found")
if arguments[-2:] == ["-f", "-"] and not text.strip():
    sys.exit("error: no objects passed to create")
"""


def block(word: str) -> str:
    """The one block of commands with the word."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    (found,) = [text for language, text in blocks if not language and word in text]
    return found


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path):
    """Runs commands in a shell; gives every call of kubectl, with what it was given to read."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    kubectl = programs / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    there = tmp_path / "there"
    there.mkdir()

    def run(commands: str) -> list[tuple[list[str], str]]:
        ended = subprocess.run(
            SHELLS[request.param],
            input=commands,
            cwd=work,
            env={
                "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
                "THERE": str(there),
                "HOME": str(work),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "rror" not in ended.stderr, ended.stderr
        assert "not found" not in ended.stderr, ended.stderr
        lines = (there / "calls").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    run.there = there
    return run


def literals(arguments: list[str]) -> dict[str, str]:
    """Keys and values that a call of `create secret generic` makes."""
    pairs = (each.removeprefix("--from-literal=") for each in arguments if "--from-" in each)
    return dict(pair.split("=", 1) for pair in pairs)


def secrets(calls: list[tuple[list[str], str]]) -> dict[str, list[str]]:
    """Arguments by the name of the Secret that they make."""
    made = [arguments for arguments, _ in calls if arguments[2:4] == ["create", "secret"]]
    return {arguments[5]: arguments[6:] for arguments in made}


def test_the_commands_make_every_secret_with_every_key_that_the_doctor_looks_for(shell):
    calls = shell(block("create secret generic orrery-secrets") + block("orrery-postgresql"))

    made = secrets(calls)

    for each in wanted(ClusterSettings()):
        if each.is_of_variables:
            assert set(literals(made[each.name])) == {*each.keys, *each.optional}, each.name
        else:
            assert made[each.name] == [f"--from-file={each.keys[0]}=instance.secret"]
    assert not [a for arguments in made.values() for a in arguments if not a.startswith("--from-")]
    password = literals(made["orrery-postgresql"])["password"]
    bucket = [literals(made[f"orrery-{name}"]) for name in ("secrets", "engines", "bucket")]
    assert re.fullmatch("[0-9a-f]{48}", password)
    assert literals(made["orrery-control"])["ORRERY_CONTROL"] == (
        f"postgresql+psycopg://orrery:{password}@postgresql:5432/orrery"
    )
    for role, url in (("dagster", "ORRERY_DAGSTER_STORAGE"), ("mlflow", "ORRERY_MLFLOW_URI")):
        of_role = literals(made["orrery-postgresql"])[f"{role}-password"]
        assert bucket[0][url] == f"postgresql+psycopg://{role}:{of_role}@postgresql:5432/{role}"
    assert len({each["AWS_SECRET_ACCESS_KEY"] for each in bucket}) == 1
    assert bucket[0]["ORRERY_MLFLOW_URI"] == bucket[1]["ORRERY_MLFLOW_URI"]


def test_the_secret_of_the_instance_is_a_file_of_random_bytes(shell, tmp_path):
    shell(block("create secret generic orrery-secrets"))

    assert len((tmp_path / "work" / "instance.secret").read_bytes()) == 32


def test_the_certificate_is_made_as_the_doctor_says(shell):
    ((arguments, _),) = shell(block("secret tls orrery-tls"))

    command = "-n orrery create secret tls orrery-tls --cert=tls.crt --key=tls.key"
    assert arguments == command.split()


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_not_there_is_not_copied_to_the_builds(shell, is_there):
    names = ["secret.orrery-bucket", *(["configmap.orrery-ca"] if is_there else [])]
    for name in names:
        kind, _, named = name.partition(".")
        metadata = {"name": named, "namespace": "orrery", "uid": "1", "resourceVersion": "2"}
        thing = {"apiVersion": "v1", "kind": kind.title(), "metadata": metadata}
        Path(shell.there, name).write_text(yaml.safe_dump(thing))

    calls = shell(block("configmap/orrery-ca"))

    copied = [(a, yaml.safe_load(text)) for a, text in calls if "create" in a]
    assert [thing["metadata"] for _, thing in copied] == [
        {"name": name.partition(".")[2]} for name in names
    ]
    assert all(arguments[:2] == ["-n", "orrery-builds"] for arguments, _ in copied)


@pytest.mark.parametrize(
    ("namespace", "label"),
    [
        ("kuberay-operator", KUBERAY.enters),
        ("envoy-gateway-system", GATEWAYS.enters),
        ("monitoring", PROMETHEUS_ENTERS),
    ],
)
def test_each_namespace_is_labelled_by_a_command_of_its_own(shell, namespace, label):
    ((arguments, _),) = shell(block(f"label namespace {namespace}"))

    assert arguments == ["label", "namespace", namespace, f"{label}=true"]
