"""A server that gives the files of a folder as the Hugging Face hub does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@contextmanager
def serving_hub(
    name: str, commit: str, folder: Path, *, is_gated: bool = False, task: str | None = None
) -> Iterator[None]:
    """Let the library of this process ask a hub that knows one model, whose files are those of the
    folder; a gated one it shows to nobody."""
    folder.mkdir(exist_ok=True)
    about = {"name": name, "commit": commit, "folder": folder, "is_gated": is_gated, "task": task}
    known = type("KnownHub", (Hub,), about)
    server = ThreadingHTTPServer(("127.0.0.1", 0), known)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        # The library reads its environment when it is imported.
        patch.setattr("huggingface_hub.constants.ENDPOINT", address)
        path = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + path)
        yield
    server.shutdown()


class Hub(BaseHTTPRequestHandler):
    """The parts of the hub's API that its library uses."""

    name: str
    commit: str
    folder: Path
    is_gated: bool
    task: str | None

    def do_GET(self) -> None:
        about = f"/api/models/{self.name}"
        if self.is_gated:
            self._answer(401, {"X-Error-Code": "GatedRepo"}, b"")
        elif self.path.startswith(f"{about}/tree/"):
            self._answer(200, {}, json.dumps(_tree(self.folder)).encode())
        elif self.path.startswith(about):
            told = {"id": self.name, "sha": self.commit, "pipeline_tag": self.task}
            self._answer(200, {}, json.dumps(told).encode())
        else:
            self.do_HEAD()

    def do_HEAD(self) -> None:
        before, _, path = self.path.partition(f"/resolve/{self.commit}/")
        file = self.folder / path
        if self.is_gated:
            self._answer(401, {"X-Error-Code": "GatedRepo"}, b"")
        elif before == f"/{self.name}" and file.is_file():
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            self._answer(200, {"ETag": f'"{digest}"', "X-Repo-Commit": self.commit}, content)
        else:
            self._answer(404, {"X-Error-Code": "EntryNotFound"}, b"")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _tree(folder: Path) -> list[dict]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [
        {
            "type": "file",
            "path": str(file.relative_to(folder)),
            "size": file.stat().st_size,
            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
        }
        for file in files
    ]
