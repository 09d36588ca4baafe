"""Volumes, variables, and command lines of a pod's containers.

Processes share the machine's file system: there is no mount namespace. Each volume is a real
folder, and wherever a container's mount path begins a path within its variables, command, or
arguments, that folder's path stands instead.
"""

import base64
import re
from pathlib import Path
from typing import Any

from tests.cluster.double.api.client import Client
from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.api.selectors import lookup

_VARIABLE = re.compile(r"\$(\$)?\(([^)]+)\)")
_LABEL_PATH = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


class MissingSourceError(Exception):
    """A ConfigMap or Secret, or a key in one, that a container needs does not exist."""


def _data(client: Client, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
    if (result := client.find(kind, name, namespace)) is None:
        return None
    if kind == "ConfigMap":
        plain = {key: value.encode() for key, value in (result.get("data") or {}).items()}
        binary = result.get("binaryData") or {}
    else:
        plain = {key: value.encode() for key, value in (result.get("stringData") or {}).items()}
        binary = result.get("data") or {}
    return {**{key: base64.b64decode(value) for key, value in binary.items()}, **plain}


def field_value(pod: Object, path: str) -> str:
    """A field of the pod, as the downward API gives it."""
    if result := _LABEL_PATH.match(path):
        return (pod["metadata"].get(result[1]) or {}).get(result[2], "")
    value = lookup(pod, path)
    if isinstance(value, dict):
        return "\n".join(f'{key}="{each}"' for key, each in value.items())
    return "" if value is None else str(value)


class PodEnvironment:
    """Folders of one pod's volumes, and what its containers are started with."""

    def __init__(self, client: Client, folder: Path, claims: Path):
        self._client = client
        self._folder = folder
        self._claims = claims
        self._volumes: dict[str, Path] = {}

    def prepare(self, pod: Object) -> None:
        """Creates the folders and files of the pod's volumes."""
        for volume in pod["spec"].get("volumes") or ():
            self._volumes[volume["name"]] = self._volume(pod, volume)

    def _volume(self, pod: Object, volume: Object) -> Path:
        namespace = pod["metadata"]["namespace"]
        folder = self._folder / "volumes" / volume["name"]
        if claim := volume.get("persistentVolumeClaim"):
            folder = self._claims / namespace / claim["claimName"]
            if not self._client.find("PersistentVolumeClaim", claim["claimName"], namespace):
                message = f'persistentvolumeclaim "{claim["claimName"]}" not found'
                raise MissingSourceError(message)
        if path := (volume.get("hostPath") or {}).get("path"):
            folder = self._claims / "host" / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        sources = (volume.get("projected") or {}).get("sources") or [volume]
        for source in sources:
            for path, content in self._files(pod, source).items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return folder

    def _files(self, pod: Object, source: Object) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            if result := source.get(field):
                files |= self._source_files(pod["metadata"]["namespace"], kind, result)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            path = (item.get("fieldRef") or {}).get("fieldPath", "")
            files[item["path"]] = field_value(pod, path).encode()
        if token := source.get("serviceAccountToken"):
            files[token["path"]] = b"token"
        return files

    def _source_files(self, namespace: str, kind: str, source: Object) -> dict[str, bytes]:
        name = source.get("name") or source["secretName"]
        data = _data(self._client, kind, namespace, name)
        if data is None:
            if source.get("optional"):
                return {}
            raise MissingSourceError(f'{kind.lower()} "{name}" not found')
        if items := source.get("items"):
            return {item["path"]: data[item["key"]] for item in items if item["key"] in data}
        return data

    def _mounts(self, container: Object) -> dict[str, str]:
        """Folders by the paths they are mounted at, the longest first."""
        mounts = {
            mount["mountPath"].rstrip("/"): str(folder / mount.get("subPath", "")).rstrip("/")
            for mount in container.get("volumeMounts") or ()
            if (folder := self._volumes.get(mount["name"])) is not None
        }
        return dict(sorted(mounts.items(), key=lambda mount: -len(mount[0])))

    def located(self, container: Object, text: str) -> str:
        """The text with mount paths replaced by the volumes' folders."""
        mounts = self._mounts(container)
        if not mounts:
            return text
        # A path begins after anything but a path, or after the `://` of a URL.
        start = r"(?:(?<![\w./-])|(?<=://)|(?<=:///))"
        paths = "|".join(map(re.escape, mounts))
        return re.sub(f"{start}({paths})(?![\\w.-])", lambda match: mounts[match[1]], text)

    def variables(self, pod: Object, container: Object) -> dict[str, str]:
        """The container's environment."""
        namespace = pod["metadata"]["namespace"]
        values = self._service_links(namespace) if pod["spec"].get("enableServiceLinks") else {}
        for source in container.get("envFrom") or ():
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if reference := source.get(field):
                    data = _data(self._client, kind, namespace, reference["name"])
                    if data is None and not reference.get("optional"):
                        message = f'{kind.lower()} "{reference["name"]}" not found'
                        raise MissingSourceError(message)
                    prefix = source.get("prefix", "")
                    for key, value in (data or {}).items():
                        values[prefix + key] = value.decode()
        for each in container.get("env") or ():
            if "valueFrom" in each:
                value = self._referenced(pod, each["valueFrom"])
            else:
                value = expand(each.get("value") or "", values)
            if value is not None:
                values[each["name"]] = value
        return {name: self.located(container, value) for name, value in values.items()}

    def _service_links(self, namespace: str) -> dict[str, str]:
        """Variables of the namespace's Services, as of the links of Docker."""
        values = {}
        for service in self._client.list("Service", namespace):
            name = service["metadata"]["name"].upper().replace("-", "_")
            address = service["spec"].get("clusterIP", "")
            for port in (service["spec"].get("ports") or ())[:1]:
                values[f"{name}_SERVICE_HOST"] = address
                values[f"{name}_SERVICE_PORT"] = str(port["port"])
                values[f"{name}_PORT"] = f"tcp://{address}:{port['port']}"
        return values

    def _referenced(self, pod: Object, source: Object) -> str | None:
        if result := source.get("fieldRef"):
            return field_value(pod, result["fieldPath"])
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if reference := source.get(field):
                name, key = reference["name"], reference["key"]
                data = _data(self._client, kind, pod["metadata"]["namespace"], name)
                if data is not None and key in data:
                    return data[key].decode()
                if reference.get("optional"):
                    return None
                missing = f'{kind.lower()} "{name}" not found'
                if data is not None:
                    missing = f"couldn't find key {key} in {kind} {name}"
                raise MissingSourceError(missing)
        return None

    def command(
        self, container: Object, entrypoint: list[str], values: dict[str, str]
    ) -> list[str]:
        """The container's command line."""
        command = container.get("command") or entrypoint
        words = [*command, *(container.get("args") or ())]
        return [self.located(container, expand(word, values)) for word in words]

    def working_folder(self, container: Object, fallback: str | None) -> str:
        """Where the container's command runs."""
        wanted = self.located(container, container.get("workingDir") or "")
        if wanted and Path(wanted).is_dir():
            return wanted
        return fallback or str(self._folder)


def expand(text: str, values: dict[str, Any]) -> str:
    """`$(NAME)` replaced by its value; `$$(NAME)` stays, less one dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        return str(values.get(match[2], match[0]))

    return _VARIABLE.sub(value, text)
