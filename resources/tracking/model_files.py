"""The adapter to what MLflow keeps of a model version, as it is removed.

timeout, retry: as for `resources.tracking.adapter`.
cancel, partial write: files go before MLflow forgets where they lie, so the same call goes on.
duplicate: what is gone already is no error.
"""

from typing import Any

from resources.tracking.connection import MlflowConnection


class ModelFiles(MlflowConnection):
    """Versions and MLflow's own copies of their files."""

    def delete_version(self, name: str, version: int) -> None:
        """Take the version out of the registry; one that is gone is no error.

        Raises TrackingUnavailable or TrackingRefused.
        """
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                self._client.delete_model_version(name, str(version))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def delete_files(self, logged_model: str) -> None:
        """Remove MLflow's copy of a model's files; one that is gone is no error.

        Raises TrackingUnavailable or TrackingRefused.
        """
        with self._answers():
            if place := self._place(logged_model):
                place.delete_artifacts()
                self._client.delete_logged_model(logged_model)

    def size_of_files(self, logged_model: str) -> int | None:
        """Bytes of MLflow's copy of a model's files; None where there is none.

        Raises TrackingUnavailable or TrackingRefused.
        """
        total, folders = 0, [""]
        with self._answers():
            place = self._place(logged_model)
            if place is None:
                return None
            while folders:
                for entry in place.list_artifacts(folders.pop() or None):
                    if entry.is_dir:
                        folders.append(entry.path)
                    total += entry.file_size or 0
        return total

    def _place(self, logged_model: str) -> Any:
        """Where the copy's files lie; None where MLflow knows no such copy."""
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        try:
            model = self._client.get_logged_model(logged_model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return get_artifact_repository(model.artifact_location, tracking_uri=self.uri)
