"""The adapter to MLflow's registry: versions of models, their aliases and tags.

timeout, retry: as for `resources.tracking.adapter`.
cancel: a version is registered once its files are logged; what was logged before is not read.
duplicate: an artefact of an mlflow_run has one version.
partial write: artefact files are logged before the version points at them.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import engine.runtime
from engine.artefact import EXAMPLE, ONNX, Signature, TensorSignature
from engine.runtime.request import RequestReader
from engine.runtime.runtime import DEFAULT as ONNX_RUNTIME
from engine.runtime.runtime import runtime_of
from resources.tracking.model_files import ModelFiles
from resources.tracking.tables import Head, MlflowTables

DIGEST_TAG = "orrery.artefact_digest"
MOST_EXAMPLE_ROWS = 16
NEWEST_FIRST = ["version_number DESC"]
WHOLE_PAGE = 1_000
ASKED_AT_ONCE = 8
"""Questions to a server at the same time."""
# The default store is the process's, and another thread would put back what it found there.
_DEFAULT_STORE = threading.Lock()


@dataclass(frozen=True)
class RegisteredVersion:
    """A model version of the registry."""

    name: str
    version: int
    run_id: str
    artefact_digest: str
    artefact_key: str
    url: str
    tags: dict[str, str]
    aliases: tuple[str, ...] = ()
    created_at: float = 0.0
    """Seconds since the epoch."""
    logged_model: str = ""
    """Id of MLflow's own copy of the files."""


def registered_name(project: str, model: str) -> str:
    """Name of the model in the registry."""
    return f"{project}.{model}"


TEST_METRICS_TAG = "orrery.test_metrics"
"""Metrics of the held-out split as JSON: what versions are compared by."""
PROMOTED_AT = "orrery.promoted_at"
"""Tag of a champion: when its promotion was requested, in seconds since the epoch."""


class Registry(ModelFiles):
    """Models and their versions."""

    def __init__(self, uri: str, ui: str) -> None:
        super().__init__(uri)
        self._ui = ui
        self._tables = MlflowTables(uri) if MlflowTables.are_at(uri) else None

    def register(
        self,
        name: str,
        artefact: Path,
        artefact_digest: str,
        artefact_key: str,
        run_id: str,
        signature: Signature,
        tags: dict[str, str],
        description: str,
    ) -> RegisteredVersion:
        """The model version of this artefact from this mlflow_run: found, or registered.

        Raises TrackingUnavailable.
        """
        of_run = f"name = '{name}' and run_id = '{run_id}'"
        for version in self._found(of_run):
            if version.artefact_digest == artefact_digest:
                return version
        with self._answers():
            self._log_model(name, artefact, run_id, signature)
            (newest,) = self._client.search_model_versions(of_run, 1, NEWEST_FIRST)
            more = {DIGEST_TAG: artefact_digest, "orrery.artefact_key": artefact_key, **tags}
            for key, value in more.items():
                self._client.set_model_version_tag(name, newest.version, key, value)
            self._client.update_model_version(name, newest.version, description)
        return self.version(name, int(newest.version))

    def _log_model(self, name: str, artefact: Path, run_id: str, signature: Signature) -> None:
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        def schema(tensors: list[TensorSignature]) -> Schema:
            return Schema(
                [TensorSpec(_dtype(each), (-1, *each.shape), each.name) for each in tensors]
            )

        example = (artefact / EXAMPLE).read_bytes()
        request = RequestReader(signature.model_dump(mode="json"), MOST_EXAMPLE_ROWS)
        tensors = request.read(b'{"inputs": %b}' % example).tensors
        experiment = self._client.get_run(run_id).info.experiment_id
        # Model.log would prefer the experiment of the process to that of the run.
        logged = self._client.create_logged_model(experiment, "model", source_run_id=run_id)
        with self._as_default_store():
            Model.log(
                None,
                model_id=logged.model_id,
                registered_model_name=name,
                await_registration_for=60,
                run_id=run_id,
                **_as_flavor(artefact, signature),
                signature=ModelSignature(schema(signature.inputs), schema([signature.output])),
                input_example=tensors,
            )

    @contextmanager
    def _as_default_store(self) -> Iterator[None]:
        """Model.log has no argument for the store; it reads the process's default."""
        import mlflow

        with _DEFAULT_STORE:
            before = mlflow.get_tracking_uri()
            mlflow.set_tracking_uri(self.uri)
            try:
                yield
            finally:
                mlflow.set_tracking_uri(before)

    def version(self, name: str, version: int) -> RegisteredVersion:
        """A model version. Raises TrackingUnavailable when there is none."""
        with self._answers():
            return self._registered(self._client.get_model_version(name, str(version)))

    def find(self, name: str, version: int | None) -> RegisteredVersion | None:
        """The version of the model, or its newest one; None where there is none, without its
        aliases. Raises TrackingUnavailable."""
        chosen = "" if version is None else f" and version_number = {version}"
        return next(iter(self._found(f"name = '{name}'{chosen}", 1)), None)

    def page(self, name: str, limit: int, before: int | None = None) -> list[RegisteredVersion]:
        """So many versions of the model, newest first, below the number where one is given.

        Raises TrackingUnavailable.
        """
        older = "" if before is None else f" and version_number < {before}"
        versions = self._found(f"name = '{name}'{older}", limit)
        aliases: dict[int, list[str]] = {}
        if versions:
            for alias, version in self.heads([name])[name].aliases.items():
                aliases.setdefault(version, []).append(alias)
        return [replace(v, aliases=tuple(sorted(aliases.get(v.version, [])))) for v in versions]

    def versions(self, name: str) -> list[RegisteredVersion]:
        """All versions of the model, newest first; it costs as much as there are of them.

        Raises TrackingUnavailable.
        """
        versions: list[RegisteredVersion] = []
        while True:
            before = versions[-1].version if versions else None
            versions += (more := self.page(name, WHOLE_PAGE, before))
            if len(more) < WHOLE_PAGE:
                return versions

    def tagged(self, name: str, tag: str, prefix: str) -> list[RegisteredVersion]:
        """Versions of the model whose tag begins so, without their aliases.

        Raises TrackingUnavailable.
        """
        return self._found(f"name = '{name}' and tags.`{tag}` LIKE '{prefix}%'")

    def heads(self, names: Sequence[str]) -> dict[str, Head]:
        """Newest version, its digest, and aliases by name, of those that are registered.

        A database is asked once, and a server for each. Raises TrackingUnavailable.
        """
        if self._tables is not None:
            with self._answers():
                assert self._client  # Its database is made.
            return self._tables.heads(names, DIGEST_TAG)
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            found = dict(zip(names, pool.map(self._head, names), strict=True))
        return {name: head for name, head in found.items() if head is not None}

    def _head(self, name: str) -> Head | None:
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                aliases = self._client.get_registered_model(name).aliases
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
        newest = self.find(name, None)
        numbers = {alias: int(version) for alias, version in aliases.items()}
        if newest is None:
            return Head(None, numbers)
        return Head(newest.version, numbers, newest.artefact_digest)

    def _found(self, query: str, limit: int = WHOLE_PAGE) -> list[RegisteredVersion]:
        with self._answers():
            found = self._client.search_model_versions(query, limit, NEWEST_FIRST)
        return [self._registered(version, ()) for version in found]

    def versions_of_run(self, run_id: str) -> list[str]:
        """Names of the model versions that the run made. Raises TrackingUnavailable."""
        with self._answers():
            versions = self._client.search_model_versions(f"run_id = '{run_id}'")
        return [f"{version.name} version {version.version}" for version in versions]

    def every_version(self) -> list[RegisteredVersion]:
        """All versions of all models. Raises TrackingUnavailable."""
        return [version for name in self._names() for version in self.versions(name)]

    def models_of(self, prefix: str) -> dict[str, int]:
        """Registered models whose names begin so, and how many versions each has.

        Raises TrackingUnavailable.
        """
        # LIKE takes an underscore of the prefix for any letter.
        names = [n for n in self._names(f"name LIKE '{prefix}%'") if n.startswith(prefix)]
        return {name: len(self.versions(name)) for name in names}

    def _names(self, query: str | None = None) -> list[str]:
        """Names of all registered models that match, page by page. Raises TrackingUnavailable."""
        names: list[str] = []
        token: str | None = None
        while True:
            with self._answers():
                page = self._client.search_registered_models(query, WHOLE_PAGE, page_token=token)
            names += [model.name for model in page]
            if not (token := page.token):
                return names

    def delete_model(self, name: str) -> None:
        """Remove the model and its versions. Raises TrackingUnavailable."""
        with self._answers():
            self._client.delete_registered_model(name)

    def aliased(self, name: str, alias: str) -> RegisteredVersion | None:
        """The version the alias points at, or None. Raises TrackingUnavailable."""
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                return self._registered(self._client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                # MLflow answers the first for a missing model and the second for a missing alias.
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def point(self, name: str, alias: str, version: int) -> None:
        """Move the alias to the version. Raises TrackingUnavailable."""
        with self._answers():
            self._client.set_registered_model_alias(name, alias, str(version))

    def tag_version(self, name: str, version: int, tags: dict[str, str]) -> None:
        """Set tags of a model version. Raises TrackingUnavailable."""
        with self._answers():
            for key, value in tags.items():
                self._client.set_model_version_tag(name, str(version), key, value)

    def _registered(self, version: Any, aliases: Sequence[str] | None = None) -> RegisteredVersion:
        # A search of MLflow gives versions without their aliases.
        named = version.aliases if aliases is None else aliases
        return RegisteredVersion(
            name=version.name,
            version=int(version.version),
            run_id=version.run_id,
            artefact_digest=version.tags.get(DIGEST_TAG, ""),
            artefact_key=version.tags.get("orrery.artefact_key", ""),
            url=f"{self._ui}/#/models/{version.name}/versions/{version.version}",
            tags=dict(version.tags),
            aliases=tuple(sorted(named)),
            created_at=version.creation_timestamp / 1000,
            logged_model=_logged_model(version.source or ""),
        )


def _as_flavor(artefact: Path, signature: Signature) -> dict[str, Any]:
    """How MLflow keeps the model: as ONNX, else as a function that brings its runtime's code."""
    # Requirements are given, because MLflow takes most of a minute to infer them.
    if signature.runtime == ONNX_RUNTIME:
        import onnx
        from mlflow import onnx as flavor

        return {
            "flavor": flavor,
            "onnx_model": onnx.load(artefact / ONNX),
            "onnx_execution_providers": ["CPUExecutionProvider"],
            "pip_requirements": ["numpy", "onnx", "onnxruntime"],
        }
    from mlflow import pyfunc

    return {
        "flavor": pyfunc,
        "loader_module": "runtime.mlflow_loader",
        "data_path": str(artefact),
        "code_paths": [str(Path(engine.runtime.__file__).parent)],
        "pip_requirements": ["numpy", *runtime_of(signature.model_dump()).requirements],
    }


def _logged_model(source: str) -> str:
    """Id of the copy that a version was registered from; a search gives it in the address alone."""
    address, _, id = source.partition("models:/")
    return "" if address or "/" in id else id


def _dtype(tensor: TensorSignature) -> np.dtype:
    # MLflow's own type for text of any length.
    return np.dtype("O" if tensor.dtype == "string" else tensor.dtype)
