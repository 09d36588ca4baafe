"""The processes of `orrery up`: what they are, how they are started, and how one knows they are
ready."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx

from engine import lease
from engine.parent_death import die_with_parent
from engine.warm.client import is_serving
from resources.settings import CHECKOUT, Settings
from serving.contract import WIND_DOWN_S

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
WARM_MODULES = (
    "dagster",
    "dagster._cli",
    "dagster._cli.api",
    "dagster._cli.job",
    "dagster._core.execution.api",
    "definitions",
    "mlflow",
    "mlflow.onnx",
    "mlflow.system_metrics.system_metrics_monitor",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "torch",
    "torch._dynamo",
    "torch.onnx",
    "onnxscript",
    # Each export loads these, which takes seconds.
    "torch.export._trace",
    "torch.onnx._internal.exporter._core",
    "onnxscript.function_libs.torch_lib.ops",
    "ray.train.torch",
    "onnx",
    "onnxruntime",
    "sklearn.datasets",
    "sklearn.metrics",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "duckdb",
    "gymnasium.envs.classic_control.cartpole",
    "art.attacks.evasion",
    "art.estimators.classification",
    "bentoml",
)


@dataclass(frozen=True)
class ProcessPlan:
    """One process to keep running."""

    name: str
    argv: list[str]
    is_ready: Callable[[], bool]
    shown: str = ""
    """Address a person may open."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that it listens on, by the variable that chooses them."""
    starts_runs: bool = False
    """Whether it may start dagster_runs; such a process is ended before them."""
    stops_within_s: float = 30.0
    """After this it is killed."""


def plans(settings: Settings) -> list[ProcessPlan]:
    """Every process of the embedded default, in the order they are shown."""
    python, host = [sys.executable, "-m"], settings.host
    # Asked on this machine: the public address may lead through a proxy that is not there yet.
    here = f"http://{EVERYWHERE.get(host, host)}"
    services = settings.state.absolute() / "services"
    warm_server = ProcessPlan(
        "warm server",
        [*python, "engine.warm.server", str(settings.warm_socket), *WARM_MODULES],
        lambda: is_serving(settings.warm_socket),
    )
    code_server = ProcessPlan(
        "code server",
        [*python, "resources.orchestration.code_server", str(settings.code_socket)],
        lambda: is_serving(settings.code_socket),
    )
    return [
        *([] if settings.warm_server else [warm_server]),
        *([] if settings.dagster_uri else [code_server]),
        ProcessPlan(
            "reconciler and router",
            [
                *[*python, "serving.reconciler", str(services), host],
                *[str(settings.router_port), str(settings.router_grpc_port)],
            ],
            lambda: _answers(f"{here}:{settings.router_port}/"),
            f"{settings.router_url}/PROJECT.SERVICE/predict",
            {
                "ORRERY_ROUTER_PORT": settings.router_port,
                "ORRERY_ROUTER_GRPC_PORT": settings.router_grpc_port,
            },
            stops_within_s=WIND_DOWN_S + 10,
        ),
        ProcessPlan(
            "gateway",
            [*python, "api.server"],
            lambda: _answers(f"{here}:{settings.port}/ready"),
            settings.url,
            {"ORRERY_PORT": settings.port},
            starts_runs=True,
        ),
        ProcessPlan(
            "Dagster daemon",
            [*python, "resources.orchestration.daemon", "run"],
            lambda: True,
            starts_runs=True,
        ),
    ]


def start(plan: ProcessPlan, settings: Settings) -> subprocess.Popen:
    """The started process; its output goes to a log in the state folder."""
    log = log_of(plan, settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            plan.argv,
            cwd=CHECKOUT,
            env=env_vars(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def log_of(plan: ProcessPlan, settings: Settings) -> Path:
    """File with the output of the process."""
    return settings.state.absolute() / "processes" / f"{plan.name.replace(' ', '-')}.log"


def env_vars(settings: Settings) -> dict[str, str]:
    """Environment variables with which every process sees the same instance and settings."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(CHECKOUT),
        "ORRERY_STATE": str(settings.state.absolute()),
        "ORRERY_PROJECTS": settings.projects,
        # A webserver elsewhere has the definitions loaded anew without telling a code server here.
        **({} if settings.dagster_uri else {"ORRERY_CODE_SERVER": str(settings.code_socket)}),
        "ORRERY_HOST": settings.host,
        "ORRERY_PORT": str(settings.port),
        "ORRERY_ROUTER_PORT": str(settings.router_port),
        "ORRERY_ROUTER_GRPC_PORT": str(settings.router_grpc_port),
        # MLflow's default is true, and loading a pickle can run any code.
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENTOML_DO_NOT_TRACK": "True",
        # Threads that spin while they wait slow two jobs on the same cores tenfold.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def is_free(host: str, port: int) -> bool:
    """Whether a server could bind the port now."""
    with socket.socket() as probe:
        # Without it a port counts as taken while its last connections are in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str) -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def is_up(settings: Settings) -> bool:
    """Whether `orrery up` keeps this state folder's processes."""
    return lease.holder(settings.state / "up") is not None


def _answers(url: str) -> bool:
    try:
        # A router without this path answers 404; a gateway that is not ready answers 503.
        return _client().get(url).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.HTTPError:
        return False


@cache
def _client() -> httpx.Client:
    """One for all questions: each new one reads the certificates of the world, for 50 ms."""
    return httpx.Client(timeout=1)
