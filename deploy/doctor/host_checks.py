"""Checks of one machine on which everything runs."""

import importlib.util
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.finding import Finding, fine, missing, warning
from resources.running_instance import running
from resources.settings import Settings

FEWEST_CORES = 2
LEAST_FREE = 5 << 30
ANSWER_S = 2.0
ENGINES = ("torch", "ray", "onnxruntime", "bentoml")
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def check_host(settings: Settings) -> Iterator[Finding]:
    """Whether `orrery up` can work here, or does."""
    yield _check_state(settings.state.absolute())
    up = running(settings)
    is_up, settings = up is not None, up or settings
    yield _check_port("gateway", settings.host, settings.port, "ORRERY_PORT", is_up)
    yield _check_port("router", settings.host, settings.router_port, "ORRERY_ROUTER_PORT", is_up)
    grpc_port = settings.router_grpc_port
    yield _check_port("router (gRPC)", settings.host, grpc_port, "ORRERY_ROUTER_GRPC_PORT", is_up)
    yield _check_disk(settings.state.absolute())
    yield _check_cores()
    yield _check_engines()


def _check_state(state: Path) -> Finding:
    folder = _that_exists(state)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return fine("state folder", f"{state} can be written")
    except OSError as error:
        return missing(
            "state folder",
            f"{state} cannot be written: {error.strerror}",
            "give it to this user, or name another with ORRERY_STATE",
        )


def _check_port(name: str, host: str, port: int, variable: str, is_up: bool) -> Finding:
    try:
        socket.create_connection((ANYWHERE.get(host, host), port), timeout=ANSWER_S).close()
        answers = True
    except OSError:
        answers = False
    if answers == is_up:
        return fine(name, f"port {port} of {host} {'answers' if is_up else 'is free'}")
    if is_up:
        return missing(
            name,
            f"`orrery up` runs, but nobody answers at port {port} of {host}",
            "wait a moment, then look into the logs in `processes` of the state folder",
        )
    return missing(
        name,
        f"port {port} of {host} is taken by another program",
        f"stop it, or choose another port with {variable}",
    )


def _check_disk(state: Path) -> Finding:
    free = shutil.disk_usage(_that_exists(state)).free
    message = f"{free / (1 << 30):.0f} GiB are free for {state}"
    if free < LEAST_FREE:
        return warning(
            "disk",
            f"{message}, expected {LEAST_FREE >> 30} or more",
            "free some, or name a folder elsewhere with ORRERY_STATE",
        )
    return fine("disk", message)


def _check_cores() -> Finding:
    cores = len(os.sched_getaffinity(0))
    if cores < FEWEST_CORES:
        return warning("cores", f"{cores}, expected {FEWEST_CORES} or more", "expect slow jobs")
    return fine("cores", str(cores))


def _check_engines() -> Finding:
    absent = [name for name in ENGINES if importlib.util.find_spec(name) is None]
    if absent:
        return missing(
            "engines",
            f"{', '.join(absent)} cannot be imported; nothing trains or serves here",
            "run `make setup`, or install the extras train, simulate and serve",
        )
    return fine("engines", f"{', '.join(ENGINES)} are installed")


def _that_exists(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())
