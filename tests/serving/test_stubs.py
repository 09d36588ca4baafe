import subprocess
import sys

from serving.packaging import SOURCES

FOLDER = SOURCES / "open_inference"


def test_the_code_of_the_messages_is_what_make_stubs_writes(tmp_path):
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={FOLDER}"]
    subprocess.run([*command, f"--python_out={tmp_path}", "open_inference.proto"], check=True)
    name = "open_inference_pb2.py"
    assert (tmp_path / name).read_text() == (FOLDER / name).read_text()
