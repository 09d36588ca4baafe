"""Real Bentos of small models, and a real reconciler and router over them."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch
from pydantic import TypeAdapter

from api.processes.plan import free_port
from engine import lease
from engine.artefact import SIGNATURE, Column, read_signature, seal
from engine.parent_death import die_with_parent
from engine.protocol import write_atomically
from serving.contract import (
    STOP,
    Deployment,
    PackagingResult,
    PackagingSpec,
    ServiceStatus,
    StopOrder,
)
from tests.waiting import PATIENCE_S, until
from training.export import export

SERVICE = "flowers.classifier-api"
WEIGHTS = {1: 0.1, 2: 0.2}
"""Weight of each version's model."""


Packaged = tuple[PackagingSpec, PackagingResult]


def package_in(base: Path, weight: float, version: int, features: tuple[str, ...] = ()) -> Packaged:
    """A linear model with the given weight, packaged in the folder by the process that does it."""
    model = torch.nn.Linear(4, 3)
    torch.nn.init.constant_(model.weight, weight)
    torch.nn.init.zeros_(model.bias)
    checkpoint = base / f"checkpoint-{version}"
    checkpoint.mkdir(exist_ok=True)
    program = torch.export.export(
        model, (torch.zeros(2, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    torch.export.save(program, checkpoint / "model.pt2")
    artefact = base / f"artefact-{version}"
    digest = export(checkpoint, artefact, None)
    if features:
        read = read_signature(artefact)
        taken = read.inputs[0].model_copy(update={"columns": list(features)})
        columns = [Column(name=name, kind="number") for name in features]
        named = read.model_copy(update={"inputs": [taken], "columns": columns})
        (artefact / SIGNATURE).write_text(named.model_dump_json())
        digest = seal(artefact)
    return package_artefact(base, artefact, digest, version)


def package_artefact(base: Path, artefact: Path, digest: str, version: int) -> Packaged:
    """The artefact, packaged in the folder by the process that does it."""
    spec = PackagingSpec(
        job=f"p{version}",
        workdir=base / f"work-{version}",
        timeout_s=PATIENCE_S,
        service=SERVICE,
        model="flowers.classifier",
        model_version=version,
        artefact=artefact,
        artefact_digest=digest,
        bento_home=base / "home",
        dataset_version="d" * 8,
        max_rows=64,
        lease_s=PATIENCE_S,
    )
    path = spec.write()
    lease.renew(spec.workdir)
    subprocess.run([sys.executable, "-m", "serving.main", str(path)], check=True)
    return spec, PackagingResult.read(spec.workdir)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Packaged]:
    """Packages a linear model with the given weight, where only this process does."""
    return functools.partial(package_in, tmp_path_factory.mktemp("bentos"))


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> list[Packaged]:
    """Two versions that answer differently; tests of all processes of a run read them."""
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-bentos"
    folder.mkdir(exist_ok=True)
    kept = folder / "packaged.json"
    versions = TypeAdapter(list[Packaged])
    with lease.alone(folder / "lock"):
        if not kept.exists():
            made = [package_in(folder, weight, version) for version, weight in WEIGHTS.items()]
            write_atomically(kept, versions.dump_json(made).decode())
    return versions.validate_json(kept.read_text())


@pytest.fixture(scope="session")
def deployments(packaged: list[Packaged]) -> list[Deployment]:
    """Deployments of two versions that answer differently."""
    return [deployment_of(*each) for each in packaged]


def deployment_of(spec: PackagingSpec, packaged: PackagingResult, **more) -> Deployment:
    return Deployment(
        request=f"request of {packaged.version}",
        service=SERVICE,
        version=packaged.version,
        model_version=spec.model_version,
        artefact_digest=spec.artefact_digest,
        bento=packaged.bento,
        bento_home=spec.bento_home,
        **{"replicas": 1, "canary": [50, 100], "step_s": 0.3, **more},
    )


@contextlib.contextmanager
def answering_process(packaged: PackagingResult, **env_vars: str) -> Iterator[httpx.Client]:
    """A client of the answering process of a Bento alone."""
    port = free_port("127.0.0.1")
    assert packaged.bento
    server = subprocess.Popen(
        [sys.executable, str(packaged.bento / "src" / "serve.py"), str(port)],
        env={**os.environ, **env_vars},
        preexec_fn=die_with_parent,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            while True:
                try:
                    client.get("/readyz")
                    break
                except httpx.HTTPError:
                    assert server.poll() is None
            yield client
    finally:
        server.terminate()
        server.wait(20)


class Serving:
    """A reconciler over a folder of deployments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.grpc_port = free_port("127.0.0.1"), free_port("127.0.0.1")
        self.start()

    def start(self) -> None:
        with (self.folder.parent / "reconciler.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *[sys.executable, "-m", "serving.reconciler", str(self.folder)],
                    *["127.0.0.1", str(self.port), str(self.grpc_port)],
                ],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{SERVICE}/predict"

    def ask(self, deployment: Deployment) -> None:
        folder = self.folder / deployment.service
        folder.mkdir(exist_ok=True)
        write_atomically(folder / "deployment.json", deployment.model_dump_json())

    def stop_deployment(self, deployment: Deployment) -> None:
        """Stop the deployment, as the runtime adapter does for a cancelled dagster_run."""
        order = StopOrder(request=deployment.request, reason="the deployment was stopped")
        write_atomically(self.folder / deployment.service / STOP, order.model_dump_json())

    def answering(self) -> dict[int, int]:
        """Percent of the traffic by model version, as the status says."""
        status = self.status()
        return {a.model_version: a.percent for a in status.answering} if status else {}

    def status(self) -> ServiceStatus | None:
        try:
            text = (self.folder / SERVICE / "status.json").read_text()
        except FileNotFoundError:
            return None
        return ServiceStatus.model_validate_json(text)

    def serving(self, deployment: Deployment) -> ServiceStatus:
        """Status once the deployment has all traffic."""

        def reached() -> ServiceStatus | None:
            status = self.status()
            done = status and status.state == "serving" and status.target == deployment.version
            return status if done else None

        return until(reached)

    def predict(self) -> httpx.Response:
        return httpx.post(self.url, json={"inputs": [[1, 1, 1, 1]]}, timeout=10)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "services").mkdir()
    created = Serving(tmp_path / "services")
    yield created
    created.stop()


class Load(threading.Thread):
    """Requests without pause until told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._over = url, threading.Event()
        self.answers: list[int] = []
        self.versions: set[int] = set()

    def run(self) -> None:
        with httpx.Client(timeout=10) as client:
            while not self._over.is_set():
                answer = client.post(self._url, json={"inputs": [[1, 1, 1, 1]]})
                self.answers.append(answer.status_code)
                if answer.status_code == 200:
                    self.versions.add(answer.json()["model_version"])

    def __enter__(self) -> "Load":
        self.start()
        until(lambda: self.answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(20)


@pytest.fixture
def load(serving: Serving) -> Callable[[], Load]:
    return lambda: Load(serving.url)
