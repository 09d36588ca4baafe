"""Thousands of requests made from the API's own document: no 500, and nothing undocumented."""

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import FrontDoor, openapi
from api.settings import FrontDoorSettings
from resources.settings import Settings

EXAMPLES = 30
"""Right and wrong requests of each kind for each operation: about three thousand in all."""


def no_failure_of_ours(context, response, case):
    """A service that is not set up (501) or away (503) is told as such; 500 is never meant."""
    assert response.status_code != 500, response.text


CHECKS = (
    no_failure_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


schema = schemathesis.openapi.from_dict(openapi(FrontDoor(Settings(), FrontDoorSettings()).api))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_document_promises(door, case):
    headers = {"Authorization": f"Bearer {door.admin_key}"}
    case.call_and_validate(base_url=door.url, headers=headers, checks=list(CHECKS), timeout=30)
