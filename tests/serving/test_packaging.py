import os
import subprocess
import sys

import httpx
import pytest

from api.processes.plan import free_port
from engine.parent_death import die_with_parent
from engine.protocol import Refused
from serving.packaging import package as package_here


def test_the_same_artefact_gives_the_same_bento(package):
    _, first = package(0.4, 4)
    stamp = (first.bento / "bento.yaml").stat().st_mtime_ns
    _, second = package(0.4, 4)
    assert second.bento == first.bento
    assert (second.bento / "bento.yaml").stat().st_mtime_ns == stamp


def test_measuring_a_bento_leaves_it_as_it_was_built(package):
    _, made = package(0.6, 6)
    assert made.replica_mib > 0
    assert not [path for path in made.bento.rglob("__pycache__")]


def test_a_bento_cut_in_half_is_built_again(package):
    _, first = package(0.5, 5)
    model = first.bento / "src" / "artefact" / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:100])
    package(0.5, 5)
    assert model.read_bytes() == whole


def test_an_artefact_with_other_bytes_is_refused(packaged):
    spec, _ = packaged[0]
    with pytest.raises(Refused, match="expected"):
        package_here(spec.model_copy(update={"artefact_digest": "0" * 64}))


def test_the_bento_serves_elsewhere_by_plain_bentoml(packaged, tmp_path):
    _, made = packaged[0]
    port = free_port("127.0.0.1")
    server = subprocess.Popen(
        [
            *[sys.executable, "-m", "bentoml", "serve", str(made.bento)],
            *["--host", "127.0.0.1", "--port", str(port)],
        ],
        env={**os.environ, "BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                assert server.poll() is None
        url = f"http://127.0.0.1:{port}/predict"
        answer = httpx.post(url, json={"inputs": [[1, 1, 1, 1]]}).json()
        assert answer["outputs"][0][0] == pytest.approx(0.4, abs=1e-5)
    finally:
        server.terminate()
        server.wait(30)
