"""Which code server a process asks."""

import yaml

from resources.orchestration.code_server import workspace_of
from resources.settings import CHECKOUT, Settings


def test_a_process_alone_loads_the_definitions_itself(settings):
    assert workspace_of(settings) == CHECKOUT / "workspace.yaml"


def test_a_shared_code_server_is_the_same_location(tmp_path):
    settings = Settings(state=tmp_path / "state", code_server=tmp_path / 'co"de.sock')

    (location,) = yaml.safe_load(workspace_of(settings).read_text())["load_from"]

    assert location["grpc_server"]["location_name"] == "orrery"
    assert location["grpc_server"]["socket"] == str(tmp_path / 'co"de.sock')
