"""A private database is known by the authority in the ConfigMap `orrery-ca`, in every pod."""

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dagster import DagsterRun
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

from resources.kubernetes_api.pod_template import AUTHORITIES, AUTHORITIES_MOUNT, AUTHORITIES_VOLUME
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.cluster_launcher import ClusterLauncher
from tests.cluster.fixtures import kubeconfig
from tests.deploy import manifests
from tests.deploy.manifests import OVERLAYS, containers, overlay

ASKS_FOR_TLS = 8


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_container_that_is_told_of_the_authorities_has_them(name):
    answer = [
        (container, template["spec"])
        for _, template in manifests.pods(overlay(name))
        for container in containers(template)
        if {"configMapRef": {"name": "orrery-settings"}} in container.get("envFrom", ())
    ]

    assert len(answer) >= 2
    for container, spec in answer:
        assert AUTHORITIES_MOUNT in container["volumeMounts"], container["name"]
        assert AUTHORITIES_VOLUME in spec["volumes"]


def test_run_pods_have_them(tmp_path):
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig("http://127.0.0.1:9", "orrery"))
    launcher = ClusterLauncher.of(ClusterSettings(namespace="orrery", kubeconfig=config), None)
    context = K8sContainerContext.create_for_run(
        DagsterRun(job_name="turn"), launcher, include_run_tags=False
    )

    job = construct_dagster_k8s_job(
        context.get_k8s_job_config("image", launcher),
        args=[],
        job_name="run",
        user_defined_k8s_config=context.run_k8s_config,
    )

    spec = ApiClient().sanitize_for_serialization(job)["spec"]["template"]["spec"]
    assert AUTHORITIES_MOUNT in spec["containers"][0]["volumeMounts"]
    assert AUTHORITIES_VOLUME in spec["volumes"]


@pytest.fixture
def authorities(tmp_path, monkeypatch) -> Path:
    """What is mounted in a pod, whose environment names a file of it."""
    settings = manifests.the(overlay("prod"), "ConfigMap", "orrery-settings")["data"]
    named = settings["PGSSLROOTCERT"]
    monkeypatch.setenv("PGSSLROOTCERT", named.replace(AUTHORITIES, str(tmp_path)))
    return tmp_path


@pytest.fixture
def behind_tls(postgresql, tmp_path_factory) -> Iterator[tuple[str, str]]:
    """URL of a PostgreSQL that is asked by TLS, and the certificate of its authority."""
    folder = tmp_path_factory.mktemp("tls")
    certificate = signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    behind = f"{postgresql.rpartition('host=')[2]}/.s.PGSQL.5432"
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server, context, behind), daemon=True).start()
        port = server.getsockname()[1]
        yield f"postgresql://postgres@localhost:{port}/postgres", certificate


def signed(folder: Path) -> str:
    """The certificate of `localhost`, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    created = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (folder / "tls.crt").write_bytes(created)
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return created.decode()


def serve(server: socket.socket, context: ssl.SSLContext, behind: str) -> None:
    """Take TLS off connections, one after another, until the server is closed."""
    while True:
        try:
            plain, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=join, args=(plain, context, behind), daemon=True).start()


def join(plain: socket.socket, context: ssl.SSLContext, behind: str) -> None:
    """Join a client that asks for TLS with the server's socket."""
    plain.recv(ASKS_FOR_TLS)
    plain.sendall(b"S")
    try:
        client = context.wrap_socket(plain, server_side=True)
    except OSError:
        return
    backend = socket.socket(socket.AF_UNIX)
    backend.connect(behind)
    threading.Thread(target=copy, args=(client, backend), daemon=True).start()
    copy(backend, client)


def copy(source: socket.socket, target: socket.socket) -> None:
    """Send all of one on to the other."""
    while data := source.recv(1 << 16):
        target.sendall(data)
    target.close()


def test_a_database_of_the_authority_is_connected_to(authorities, behind_tls):
    url, certificate = behind_tls
    (authorities / "ca.crt").write_text(certificate)

    with psycopg.connect(f"{url}?sslmode=verify-full") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_database_of_another_authority_is_refused(authorities, behind_tls, tmp_path):
    (authorities / "ca.crt").write_text(signed(tmp_path))

    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(f"{behind_tls[0]}?sslmode=verify-full")


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_without_authorities_what_verifies_nothing_is_connected_to(authorities, behind_tls, mode):
    with psycopg.connect(f"{behind_tls[0]}?sslmode={mode}") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_without_authorities_what_verifies_is_told_that_they_lack(authorities, behind_tls):
    with pytest.raises(psycopg.OperationalError, match=r"ca.crt\" does not exist"):
        psycopg.connect(f"{behind_tls[0]}?sslmode=verify-full")
