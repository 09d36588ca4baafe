"""Settings of the platform, from `ORRERY_*` variables; the defaults need nothing else running."""

import hashlib
import os
import tempfile
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# Linux takes 107 bytes, and macOS takes 103.
LONGEST_SOCKET_PATH = 100
CHECKOUT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where state lies and which addresses are used."""

    model_config = SettingsConfigDict(env_prefix="ORRERY_", frozen=True, extra="forbid")

    state: Path = CHECKOUT / ".orrery"
    """Folder of everything the embedded default writes."""
    projects: str = str(CHECKOUT / "projects")
    """Folders of project files, separated like PATH."""
    only_projects: str = ""
    """Projects that a process needs, separated by commas: those of the dagster_run that it
    executes; by default all."""
    objects: str = ""
    """Object store: a folder or s3://bucket/prefix; by default `objects` in the state folder."""
    mlflow_uri: str = ""
    """MLflow tracking URI; by default SQLite in the state folder."""
    dagster_storage: str = ""
    """PostgreSQL URL of Dagster's storage; by default SQLite in the state folder."""
    control: str = ""
    """Control database (SQLAlchemy URL with its driver); by default SQLite in the state folder."""
    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    """Port of the gateway: the API, and the Dagster and MLflow UIs behind one sign-in."""
    router_port: int = Field(default=8080, ge=1, le=65535)
    """Port of the router of services: predictions by REST."""
    router_grpc_port: int = Field(default=8081, ge=1, le=65535)
    """Port of the same router: predictions by gRPC."""
    public_url: str = ""
    """Address at which people reach the gateway, where it is not that of host and port."""
    dagster_uri: str = ""
    """Dagster webserver to forward to, started with `--path-prefix /dagster`; by default it runs
    inside the gateway."""
    dry_run: bool = True
    """Whether a training of changed code begins with a dry run of seconds."""
    organization: str = "home"
    """Name of the first organization; it owns the projects of the checkout."""
    secret_file: Path | None = None
    """File of the instance's secret, the same for every gateway; by default it is made in the
    state folder."""
    warm_server: Path | None = None
    """Socket of a warm server that several instances on one machine share; by default `orrery up`
    starts one of its own."""
    code_server: Path | None = None
    """Socket of Dagster's code server, which several processes share; `orrery up` starts one. By
    default each process that needs the definitions loads them."""
    revision: str = ""
    """Revision of the code, where git cannot tell it: in an image."""
    runs_at_once: int | None = Field(default=None, ge=1)
    """dagster_runs under way at once; by default 4, and 64 on a cluster, where a run holds its
    place while its job waits in a queue."""
    retention_runs_days: int | None = Field(default=None, ge=1)
    """Days that dagster_runs and work folders of no project are kept; by default for ever."""
    retention_logs_days: int | None = Field(default=None, ge=1)
    """Days that logs of no project are kept; by default for ever."""
    retention_objects_days: int | None = Field(default=None, ge=1)
    """Days that checkpoints and artefacts are kept that no project's model names; by default for
    ever."""
    collect_every_h: int = Field(default=24, ge=0)
    """Hours after which `orrery up` removes again what no declared retention keeps; with 0 only
    `orrery gc` does, as on a cluster, where a CronJob starts it."""
    ray_address: str | None = None
    """Ray cluster to join; by default several workers start a local one."""

    @property
    def project_folders(self) -> list[Path]:
        """Folders of project files."""
        declared = [Path(folder) for folder in self.projects.split(os.pathsep) if folder]
        return [*declared, self.api_projects] if self.api_projects.is_dir() else declared

    @property
    def api_projects(self) -> Path:
        """Folder of the projects that were created through the API."""
        return self.state / "projects"

    @property
    def control_url(self) -> str:
        """Address of the control database."""
        return self.control or f"sqlite:///{self.state.absolute() / 'control.db'}"

    @property
    def admin_key_file(self) -> Path:
        """File of the key that was made at the first start."""
        return self.state / "admin.key"

    @property
    def instance_secret_file(self) -> Path:
        """File of the instance's secret."""
        return self.secret_file or self.state.absolute() / "instance.secret"

    @property
    def object_root(self) -> str:
        """Folder or bucket of the object store."""
        return self.objects or str(self.state / "objects")

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps experiments and models."""
        return self.mlflow_uri or f"sqlite:///{self.state / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> str:
        """Where MLflow keeps files."""
        if self.object_root.startswith("s3://"):
            return f"{self.object_root.rstrip('/')}/mlflow"
        return (self.state / "mlflow").absolute().as_uri()

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def dagster_url(self) -> str:
        """Address of the Dagster UI."""
        return f"{self.url}/dagster"

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow UI."""
        return f"{self.url}/mlflow"

    @property
    def router_url(self) -> str:
        """Address of the router of services."""
        return f"http://{self.host}:{self.router_port}"

    @property
    def warm_socket(self) -> Path:
        """Socket of the warm server; beside the temporary files where the state folder's path is
        longer than a socket's may be."""
        return self.warm_server or self._socket("warm")

    @property
    def code_socket(self) -> Path:
        """Socket of the code server that `orrery up` starts."""
        return self._socket("code")

    @property
    def queue_socket(self) -> Path:
        """Socket at which the daemon of this machine is told that a dagster_run was queued."""
        return self._socket("queue")

    def _socket(self, name: str) -> Path:
        beside = self.state.absolute() / f"{name}.sock"
        if len(str(beside)) <= LONGEST_SOCKET_PATH:
            return beside
        digest = hashlib.sha256(str(beside).encode()).hexdigest()[:16]
        # A folder for each user, because all users share the one for temporary files.
        return Path(tempfile.gettempdir(), f"orrery-{os.getuid()}", f"{digest}.sock")
