"""Packaging: a Bento that carries the model, its server and its identity."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

import engine.runtime
from engine.artefact import (
    EXAMPLE,
    MANIFEST,
    SIGNATURE,
    ArtefactCorrupt,
    read_signature,
    sha256_of,
    verify,
)
from engine.protocol import Refused, write_atomically
from engine.runtime.model import Model
from engine.runtime.request import RequestReader
from engine.runtime.runtime import Runtime, runtime_of
from serving.contract import LARGEST_BODY, MOST_ROWS, PackagingResult, PackagingSpec
from serving.footprint import measured_mib

SOURCES = Path(__file__).resolve().parent / "bento"
REQUIREMENTS = (
    "grpcio",
    "grpcio-health-checking",
    "numpy",
    "prometheus-client",
    "protobuf",
    # The Bento's HTTP extends a class of this version.
    "uvicorn[standard]~=0.54.0",
)
RUNTIME = Path(engine.runtime.__file__).parent
DESCRIPTION = (SIGNATURE, EXAMPLE)
"""Files of every artefact that go with its model."""


def package(spec: PackagingSpec) -> PackagingResult:
    """The Bento of the artefact: found in the store, or built.

    Raises Refused when the artefact's bytes are not those of its digest.
    """
    try:
        verify(spec.artefact, spec.artefact_digest)
    except ArtefactCorrupt as error:
        raise Refused(str(error)) from error
    context = spec.workdir / "context"
    version = _write_context(spec, context)
    bento = spec.bento_home / "bentos" / spec.service / version
    # A build that was killed leaves a partial Bento under the same version.
    if not _is_whole(bento / "src", context):
        shutil.rmtree(bento, ignore_errors=True)
        _build(spec, context, version)
    return PackagingResult(
        bento=bento,
        tag=f"{spec.service}:{version}",
        version=version,
        example_outputs=_example_outputs(spec.artefact).tolist(),
        replica_mib=measured_mib(bento),
    )


def _write_context(spec: PackagingSpec, context: Path) -> str:
    """Version of the build context, now written: the hash of everything in it."""
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(SOURCES, context, ignore=shutil.ignore_patterns("__pycache__", "*.proto"))
    shutil.copytree(RUNTIME, context / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    runtime = _runtime(spec.artefact)
    for name in json.loads((spec.artefact / MANIFEST).read_bytes()):
        if runtime.holds(name) or name in DESCRIPTION:
            target = context / "artefact" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(spec.artefact / name, target)
    shutil.copy(spec.artefact / MANIFEST, context / "artefact" / MANIFEST)
    identity = {
        "service": spec.service,
        "model": spec.model,
        "model_version": spec.model_version,
        "artefact_digest": spec.artefact_digest,
        "dataset_version": spec.dataset_version,
        "max_rows": spec.max_rows,
        "limits": {"rows": MOST_ROWS, "bytes": LARGEST_BODY},
    }
    content = json.dumps([identity, _hashes(context)], sort_keys=True).encode()
    version = f"v{spec.model_version}-{hashlib.sha256(content).hexdigest()[:12]}"
    write_atomically(context / "identity.json", json.dumps({**identity, "version": version}))
    return version


def _runtime(artefact: Path) -> Runtime:
    return runtime_of(read_signature(artefact).model_dump())


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): sha256_of(p) for p in files}


def _is_whole(built: Path, context: Path) -> bool:
    return built.is_dir() and _hashes(context).items() <= _hashes(built).items()


def _build(spec: PackagingSpec, context: Path, version: str) -> None:
    # BentoML reads its home when it is imported, and the service its port.
    os.environ["BENTOML_HOME"] = str(spec.bento_home)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ["PREDICT_PORT"] = "3001"
    import bentoml

    requirements = sorted({*REQUIREMENTS, *_runtime(spec.artefact).requirements})
    bentoml.build(
        "service:Predictor",
        name=spec.service,
        version=version,
        include=["*"],
        build_ctx=str(context),
        labels={
            "artefact_digest": spec.artefact_digest[:63],
            "model": spec.model,
            "model_version": str(spec.model_version),
        },
        # Locking would resolve the requirements, which needs a package index.
        python={"packages": requirements, "lock_packages": False},
    )


def _example_outputs(artefact: Path) -> np.ndarray:
    model = Model(artefact)
    example = (artefact / EXAMPLE).read_bytes()
    request = RequestReader(model.signature, MOST_ROWS).read(b'{"inputs": %b}' % example)
    return model.answers(request.tensors)
