"""The server against its own OpenAPI document, by Schemathesis: random requests, and what may be answered to them."""

import pytest

pytest.importorskip("fastapi")
schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402 (after the skips)
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import served  # noqa: E402

from minilora.files.shipped import shipped  # noqa: E402

pytestmark = pytest.mark.slow
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROUTES = {
    "/": 1, "/health": 1, "/version": 1, "/metrics": 1, "/adapters": 1, "/tokenizer_info": 1, "/v1/models": 1,
    "/v1/models/{name}": 20, "/v1/completions": 50, "/v1/chat/completions": 50, "/tokenize": 30, "/detokenize": 30,
    "/ask": 30, "/v1/load_lora_adapter": 30, "/v1/unload_lora_adapter": 30,
}  # fmt: skip


@pytest.fixture(scope="module")
def operations():
    """{path: what the document says of it}"""
    folder = shipped("adapters/style-json").parent
    with served(folder=folder, may_load=True, max_loras=2, max_cpu_loras=4) as (_, url):
        found = schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()
        yield {operation.ok().path: operation.ok() for operation in found}


def test_the_document_has_every_route(operations):
    assert operations.keys() == ROUTES.keys()


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_is_one_that_the_document_knows(operations, path):
    @settings(
        max_examples=ROUTES[path], deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operations[path].as_strategy())
    def ask(case):
        case.validate_response(case.call(), checks=CHECKS)

    ask()
