"""A thousand requests made from the API's own document: no 500, and nothing undocumented."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import Gateway, openapi
from api.operations.table import OPERATIONS
from api.settings import GatewaySettings
from resources.settings import Settings

EXAMPLES = 10
"""Of right and of wrong requests for each operation; each run of the tests draws others."""


def no_failure_of_ours(context, response, case):
    """A service that is not set up (501) or away (503) is told as such; 500 is never meant."""
    assert response.status_code != 500, response.text


CHECKS = [
    no_failure_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(openapi(Gateway(Settings(), GatewaySettings()).api))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_every_answer_is_one_that_the_document_promises(gateway, name, mode):
    headers = {"Authorization": f"Bearer {gateway.admin_key}"}
    sent = []

    @seed(int(os.environ["ORRERY_FUZZ_SEED"]))
    @given(case=schema.find_operation_by_id(name).as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case):
        sent.append(case)
        case.call_and_validate(base_url=gateway.url, headers=headers, checks=CHECKS, timeout=30)

    send()
    assert sent
