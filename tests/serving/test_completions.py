"""Services of language models answer OpenAI's clients: completions, chat, streams, refusals."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving.conftest import SERVICE, answering_process, package_artefact
from tests.serving.test_request_log import lines_of
from tests.training.tables import files_of, questions
from tests.training.tiny_networks import llama
from tests.waiting import until
from training.export import export

LONGEST = 200_000
"""Tokens, more than the model writes in any test: a text of so many never ends."""
WRITTEN = 6
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'system' %}please {% endif %}"
    "{% if message.content == 'forbidden' %}{{ raise_exception('no such words') }}{% endif %}"
    "{{ message.content }} {% endfor %}"
)
CHAT = {"model": SERVICE, "messages": [{"role": "user", "content": "what says the cow"}]}
TEXT = {"model": SERVICE, "prompt": "what says the cow"}
ENDLESS = {**TEXT, "max_tokens": LONGEST // 2, "stream": True}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """A language model with a chat template that has learned nothing, packaged."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("writer")
    table = questions(40)
    dataset = files_of(table, "answer", folder / "asked", task="text-generation")
    words = [word for row in table.to_pylist() for text in row.values() for word in text.split()]
    checkpoint = folder / "checkpoint"
    place = llama(checkpoint / "transformers", words, TEMPLATE, LONGEST)
    network = LlamaForCausalLM.from_pretrained(place)
    network.generation_config.max_new_tokens = WRITTEN
    # It never ends a text, and writes other words after others.
    network.lm_head.weight.data.mul_(20.0)
    for special in AutoTokenizer.from_pretrained(place).all_special_ids:
        network.lm_head.weight.data[special] = 0.0
    network.save_pretrained(place)
    digest = export(checkpoint, folder / "artefact", dataset)
    return package_artefact(folder, folder / "artefact", digest, 1)[1]


@pytest.fixture(scope="module")
def writing(packaged, tmp_path_factory):
    """The answering process of the model alone, with a request log."""
    folder = tmp_path_factory.mktemp("requests")
    with answering_process(packaged, REQUEST_LOG_FOLDER=str(folder)) as client:
        client.folder = folder
        client.timeout = 60
        yield client


def asked(client, request) -> dict:
    path = "/v1/chat/completions" if "messages" in request else "/v1/completions"
    answer = client.post(path, json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(answer) -> list[str]:
    return [c["message"]["content"] if "message" in c else c["text"] for c in answer["choices"]]


def events(client, request) -> list[dict]:
    path = "/v1/chat/completions" if "messages" in request else "/v1/completions"
    answer = client.post(path, json={**request, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *told, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(each.removeprefix("data: ")) for each in told]


def predicted(client, *prompts: str) -> list[str]:
    answer = client.post("/predict", json={"rows": [{"question": each} for each in prompts]})
    return answer.json()["predictions"]


def test_a_completion_is_what_the_model_predicts(writing):
    answer = asked(writing, TEXT)

    assert texts(answer) == predicted(writing, TEXT["prompt"])
    assert answer["object"] == "text_completion"
    assert answer["model"] == SERVICE
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": WRITTEN,
        "total_tokens": 4 + WRITTEN,
    }
    prompts = ["what says the cow", "how", "please please says the owl"]
    assert texts(asked(writing, {"prompt": prompts})) == predicted(writing, *prompts)


def test_a_chat_is_given_to_the_model_by_its_template(writing):
    answer = asked(writing, CHAT)
    assert texts(answer) == predicted(writing, "what says the cow")
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["role"] == "assistant"

    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "how"}]},
        {"role": "user", "content": "says the owl"},
    ]
    assert texts(asked(writing, {"messages": messages})) == predicted(
        writing, "please how says the owl"
    )


@pytest.mark.parametrize("request_", [CHAT, TEXT, {**TEXT, "prompt": ["how", "what"], "n": 2}])
def test_a_stream_has_the_same_text_token_by_token(writing, request_):
    whole = asked(writing, request_)
    told = events(writing, {**request_, "stream_options": {"include_usage": True}})

    assert told[-1]["usage"] == whole["usage"]
    written = [""] * len(whole["choices"])
    endings = {}
    for choice in (choice for each in told for choice in each["choices"]):
        delta = choice["delta"].get("content", "") if "delta" in choice else choice["text"]
        written[choice["index"]] += delta
        if choice["finish_reason"]:
            endings[choice["index"]] = choice["finish_reason"]
    assert written == texts(whole)
    assert list(endings.values()) == [each["finish_reason"] for each in whole["choices"]]
    assert len(told) > WRITTEN
    assert len({each["id"] for each in told}) == 1


def test_draws_are_those_of_the_seed_whatever_is_written_beside_them(writing):
    drawn = {**TEXT, "temperature": 1.5, "seed": 3, "max_tokens": 24}
    (once,) = texts(asked(writing, drawn))
    several = texts(asked(writing, {**drawn, "n": 3}))
    other = texts(asked(writing, {**drawn, "seed": 4}))

    assert several[0] == once
    assert len(set(several)) == 3
    assert other == [several[1]]
    assert texts(asked(writing, {**drawn, "top_p": 1e-9})) == texts(
        asked(writing, {**TEXT, "max_tokens": 24})
    )


def test_a_text_ends_before_a_stop(writing):
    (whole,) = texts(asked(writing, {**TEXT, "max_tokens": 12}))
    words = whole.split()
    stop = f" {words[-2]} {words[-1]}"

    answer = asked(writing, {**TEXT, "max_tokens": 12, "stop": [stop, "never"]})

    assert texts(answer) == [whole[: whole.index(stop)]]
    assert answer["choices"][0]["finish_reason"] == "stop"
    streamed = events(writing, {**TEXT, "max_tokens": 12, "stop": stop})
    assert "".join(each["choices"][0]["text"] for each in streamed) == whole[: whole.index(stop)]


def test_the_model_is_listed_by_the_name_of_its_service(writing):
    assert [each["id"] for each in writing.get("/v1/models").json()["data"]] == [SERVICE]
    assert writing.get(f"/v1/models/{SERVICE}").json()["max_model_len"] == LONGEST
    assert writing.get("/v1/models/gpt-9").json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("request_", "status", "param", "code", "says"),
    [
        ({**CHAT, "model": "gpt-9"}, 404, "model", "model_not_found", "expected 'flowers.cl"),
        ({**TEXT, "max_tokens": LONGEST}, 400, None, "context_length_exceeded", "prompt of 4"),
        ({**CHAT, "logprobs": True}, 400, "logprobs", "unsupported_parameter", "not offered"),
        ({**TEXT, "logprobs": 0}, 400, "logprobs", "unsupported_parameter", "not offered"),
        ({**CHAT, "tools": [{}]}, 400, "tools", "unsupported_parameter", "not offered"),
        ({**TEXT, "max_length": 3}, 400, "max_length", "unknown_parameter", "expected some of"),
        ({**TEXT, "temperature": 3}, 400, "temperature", None, "a number from 0 to 2"),
        ({**TEXT, "n": True}, 400, "n", None, "a whole number from 1 to 128"),
        ({**TEXT, "prompt": ["a"] * 100, "n": 2}, 400, "n", None, "a whole number from 1 to 1"),
        ({**TEXT, "prompt": [1, 2]}, 400, "prompt", None, "a text or a list of texts"),
        ({**TEXT, "stop": ["a"] * 5}, 400, "stop", None, "at most 4"),
        ({**TEXT, "stop": ""}, 400, "stop", None, "at most 4"),
        ({**TEXT, "stream_options": {"include_usage": True}}, 400, "stream_options", None, "none"),
        ({"messages": []}, 400, "messages", None, "a list of messages"),
        ({"messages": [{"role": "tool"}]}, 400, "messages.0.role", None, "one of system"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "messages.0.content.0",
            None,
            "of type the text 'image_url'",
        ),
        (
            {"messages": [{"role": "user", "content": "forbidden"}]},
            400,
            "messages",
            None,
            "no such words",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_as_the_protocol_does(
    writing, request_, status, param, code, says
):
    path = "/v1/chat/completions" if "messages" in request_ else "/v1/completions"
    answer = writing.post(path, json=request_)

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


def test_other_paths_and_methods_are_refused(writing):
    assert writing.get("/v1/completions").status_code == 405
    answer = writing.post("/v1/embeddings", json={})
    assert answer.status_code == 404
    assert "/v1/chat/completions" in answer.json()["error"]["message"]
    assert writing.post("/v1/completions", content=b"[").status_code == 400


def test_a_prompt_and_what_was_written_are_logged(writing):
    request = {"messages": [{"role": "user", "content": "please please please"}]}
    (text,) = texts(asked(writing, request))
    events(writing, request)
    given = "please please please "

    def entries():
        found = [e for e in lines_of(writing.folder) if e.get("inputs") == [given]]
        return found if len(found) == 2 else None

    assert [each["prediction"] for each in until(entries)] == [text, text]


def test_a_client_that_leaves_ends_what_is_written_for_it(writing):
    with writing.stream("POST", "/v1/completions", json=ENDLESS) as answer:
        assert next(answer.iter_lines()).startswith("data: ")
    # Nobody else would be answered before that ends.
    assert texts(asked(writing, TEXT))

    with pytest.raises(Exception, match="timed out"):
        writing.post("/v1/completions", json={**ENDLESS, "stream": False}, timeout=1)
    assert texts(asked(writing, TEXT))


def test_texts_that_wait_share_a_batch_and_too_many_are_sent_away(writing):
    with writing.stream("POST", "/v1/completions", json=ENDLESS) as endless:
        lines = endless.iter_lines()
        next(lines)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(asked, writing, {"prompt": ["how"] * 127})
            until(lambda: "predict_waiting_texts 127.0" in metrics(writing))
            answer = writing.post("/v1/completions", json={"prompt": ["how", "what"]})
            endless.close()
            assert len(texts(waiting.result())) == 127
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["error"]["type"] == "server_error"
    assert 'predict_requests_total{status="503"} 1.0' in metrics(writing)


def metrics(client) -> str:
    return client.get("/metrics").text


def test_an_end_of_the_process_waits_for_streams(packaged):
    with answering_process(packaged) as client:
        pid = client.get("/readyz").json()["pid"]
        request = {**TEXT, "max_tokens": 400, "stream": True}
        with client.stream("POST", "/v1/completions", json=request) as answer:
            lines = answer.iter_lines()
            next(lines)
            os.kill(pid, signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"


def test_services_of_other_models_write_no_texts(package):
    _, other = package(0.4, 4)
    with answering_process(other) as client:
        answer = client.get("/v1/models")
        assert answer.status_code == 404
        assert "there is /livez" in answer.json()["error"]
