"""Throughput and tail of a service, against plain BentoML, FastAPI with torch, and a bare handler.

The same small network answers one JSON row per request over 1 and 16 connections; `wrk` (Debian's
package) asks. Every server has one worker process and one thread for the model. The bare handler
does the same work by hand on uvicorn, and is asked without a router.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch

from api.processes.plan import free_port
from benchmarks.measure import console, in_turns, show
from engine import lease
from engine.protocol import write_atomically
from serving.contract import Deployment, PackagingResult, PackagingSpec
from training.export import export

REPEATS = 5
SECONDS = 3
CONNECTIONS = 16
FEW_AND_MANY = (1, CONNECTIONS)
BARE = "a bare handler"
AIMS = {1: (">= 0.7", "<= 1.3"), CONNECTIONS: (">= 0.9", "<= 1.2")}
"""Throughput and 99th percentile against the bare handler, by connections."""
SERVICE = "bench.reader"
PLAIN_BENTO = """
import bentoml, numpy as np, torch
torch.set_num_threads(1)

@bentoml.service(workers=1)
class Plain:
    def __init__(self):
        self.model = torch.export.load("{program}").module()

    @bentoml.api
    def predict(self, inputs: list[list[float]]) -> dict:
        with torch.no_grad():
            outputs = self.model(torch.tensor(inputs))
        return {{"predictions": outputs.argmax(1).tolist(), "outputs": outputs.tolist()}}
"""
FASTAPI = """
import torch
from fastapi import FastAPI
from pydantic import BaseModel
torch.set_num_threads(1)
model = torch.export.load("{program}").module()
app = FastAPI()

class Rows(BaseModel):
    inputs: list[list[float]]

@app.post("/predict")
async def predict(request: Rows):
    with torch.no_grad():
        outputs = model(torch.tensor(request.inputs))
    return {{"predictions": outputs.argmax(1).tolist(), "outputs": outputs.tolist()}}
"""
HANDLER = """
import json, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession("{model}", options)
taken, given = session.get_inputs()[0].name, [session.get_outputs()[0].name]

async def app(scope, receive, send):
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body")
    rows = np.array(json.loads(b"".join(parts))["inputs"], np.float32)
    outputs = session.run(given, {{taken: rows}})[0]
    body = json.dumps({{
        "predictions": outputs.argmax(1).tolist(),
        "outputs": outputs.tolist(),
        "model_version": 1,
        "dataset_version": "",
        "request_id": "0" * 32,
    }}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-model-version", b"1"),
    ]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""
LUA = """
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["Content-Type"] = "application/json"
"""
BODY = json.dumps({"inputs": [[float(i % 16) for i in range(64)]]})


def main() -> None:
    """Print requests per second and the 99th percentile of the latency."""
    if shutil.which("wrk") is None:
        console.print("the service benchmark needs `wrk`; install Debian's package of that name")
        return
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        program = exported(folder)
        (folder / "ask.lua").write_text(LUA.format(body=BODY))
        with (
            orrery(folder, program.parent, folder / "services") as ours,
            _plain_bento(folder, program) as bento,
            _fastapi(folder, program) as fastapi,
            _bare_handler(folder, folder / "artefact" / "model.onnx") as bare,
        ):
            urls = {"BentoML": bento, "FastAPI and torch": fastapi, BARE: bare, "Orrery": ours}
            for connections in FEW_AND_MANY:
                _measure(folder, urls, connections)


def exported(folder: Path) -> Path:
    """The program of a small network, in a checkpoint folder of its own."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    program = folder / "checkpoint" / "model.pt2"
    program.parent.mkdir()
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(
        torch.export.export(model, (torch.zeros(2, 64),), dynamic_shapes=shapes), program
    )
    return program


def _measure(folder: Path, urls: dict[str, str], connections: int) -> None:
    tails: dict[str, list[float]] = {name: [] for name in urls}

    def ask(name: str) -> float:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency"]
        command += ["-s", str(folder / "ask.lua"), urls[name]]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said:
            raise RuntimeError(f"{name} answered with errors:\n{said}")
        tails[name].append(_milliseconds(re.search(r"99%\s+([\d.]+)(us|ms|s)", said)))
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))  # type: ignore[union-attr]

    rates = in_turns({name: lambda name=name: ask(name) for name in urls}, REPEATS)
    title, aims = f", connections: {connections}", AIMS[connections]
    show(f"Throughput{title}", "requests/s", rates, "BentoML", ">= 3")
    show(f"Throughput{title}", "requests/s", rates, "FastAPI and torch", ">= 0.8")
    show(f"Throughput{title}", "requests/s", rates, BARE, aims[0])
    show(f"99th percentile{title}", "ms", tails, "BentoML", "<= 1/3")
    show(f"99th percentile{title}", "ms", tails, BARE, aims[1])


def _milliseconds(match: re.Match[str] | None) -> float:
    assert match
    return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000}[match[2]]


@contextmanager
def _process(command: list[str], *urls: str, body: Any = None, **env: str) -> Iterator[int]:
    """The process, once it answers at every address."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", "OMP_WAIT_POLICY": "PASSIVE", **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # As replicas are: a scheduler that is fair to sessions is then fair to all contenders.
        start_new_session=True,
    )
    try:
        body = body or {"inputs": [[0.0] * 64]}
        for url in urls:
            while not _answers(url, body):
                if process.poll() is not None:
                    raise RuntimeError(f"{command} ended with {process.returncode}")
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str, body: Any) -> bool:
    try:
        reply = httpx.post(url, json=body, timeout=5)
    except httpx.HTTPError:
        return False
    if reply.status_code == httpx.codes.BAD_REQUEST:
        raise RuntimeError(f"{url} refuses the first request: {reply.text}")
    return reply.status_code == httpx.codes.OK


@contextmanager
def orrery(
    folder: Path, checkpoint: Path, services: Path, grpc_port: int | None = None
) -> Iterator[str]:
    """Address of predictions by the checkpoint's model, at the router of a reconciler over the
    folder of services.

    It answers gRPC at the port, by default at one that is free.
    """
    artefact = folder / "artefact"
    with answering(
        folder, artefact, export(checkpoint, artefact, None), services, grpc_port
    ) as url:
        yield url


@contextmanager
def answering(
    folder: Path, artefact: Path, digest: str, services: Path, grpc_port: int | None = None
) -> Iterator[str]:
    """The same by an artefact."""
    deployment = packaged(folder, artefact, digest)
    ask(services, deployment)
    rows = json.loads((artefact / "input_example.json").read_bytes())
    with reconciling(services, [deployment.service], {"inputs": rows}, grpc_port) as (url, _):
        yield url


def packaged(folder: Path, artefact: Path, digest: str) -> Deployment:
    """A deployment of the artefact, whose Bento is built now."""
    spec = PackagingSpec(
        job="bench",
        workdir=folder / "work",
        timeout_s=60,
        service=SERVICE,
        model="bench.reader",
        model_version=1,
        artefact=artefact,
        artefact_digest=digest,
        bento_home=folder / "bentos",
        max_rows=256,
    )
    path = spec.write()
    lease.renew(spec.workdir)
    subprocess.run([sys.executable, "-m", "serving.main", str(path)], check=True)
    made = PackagingResult.read(spec.workdir)
    assert made and made.bento
    return Deployment(
        service=SERVICE,
        version=made.version,
        model_version=1,
        artefact_digest=digest,
        bento=made.bento,
        bento_home=spec.bento_home,
        replicas=1,
        canary=[100],
        step_s=0,
    )


def ask(services: Path, deployment: Deployment) -> None:
    """Have the reconciler over the folder carry out the deployment."""
    folder = services / deployment.service
    folder.mkdir(parents=True)
    write_atomically(folder / "deployment.json", deployment.model_dump_json())


@contextmanager
def reconciling(
    services: Path, names: list[str], body: Any, grpc_port: int | None = None
) -> Iterator[tuple[str, int]]:
    """Address of predictions by the first of the services, which all answer, and the process of
    the reconciler over the folder."""
    port = free_port("127.0.0.1")
    urls = [f"http://127.0.0.1:{port}/{name}/predict" for name in names]
    command = [
        *[sys.executable, "-m", "serving.reconciler", str(services), "127.0.0.1"],
        *[str(port), str(grpc_port or free_port("127.0.0.1"))],
    ]
    with _process(command, *urls, body=body) as pid:
        yield urls[0], pid


@contextmanager
def _plain_bento(folder: Path, program: Path) -> Iterator[str]:
    (folder / "plain.py").write_text(PLAIN_BENTO.format(program=program))
    port = free_port("127.0.0.1")
    command = [
        *[sys.executable, "-m", "bentoml", "serve", "plain:Plain"],
        *["--working-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)],
    ]
    url = f"http://127.0.0.1:{port}/predict"
    with _process(command, url, BENTOML_HOME=str(folder / "plain-home")):
        yield url


@contextmanager
def _fastapi(folder: Path, program: Path) -> Iterator[str]:
    (folder / "plain_fastapi.py").write_text(FASTAPI.format(program=program))
    port = free_port("127.0.0.1")
    command = [
        *[sys.executable, "-m", "uvicorn", "plain_fastapi:app", "--app-dir", str(folder)],
        *["--port", str(port), "--no-access-log"],
    ]
    url = f"http://127.0.0.1:{port}/predict"
    with _process(command, url):
        yield url


@contextmanager
def _bare_handler(folder: Path, model: Path) -> Iterator[str]:
    (folder / "bare.py").write_text(HANDLER.format(model=model))
    port = free_port("127.0.0.1")
    command = [
        *[sys.executable, "-m", "uvicorn", "bare:app", "--app-dir", str(folder)],
        *["--port", str(port), "--http", "httptools", "--lifespan", "off", "--no-access-log"],
    ]
    url = f"http://127.0.0.1:{port}/predict"
    with _process(command, url):
        yield url
