"""Requests for completions, checked: what is answered is what was asked for, or it is refused."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runtime.bad_request import BadRequest, shown
from runtime.request import parsed_json
from runtime.writing import LanguageModel, Prompt, Sampling

MOST_STOPS = 4
HOTTEST = 2.0
MOST_SEED = 2**63 - 1
ROLES = ("system", "developer", "user", "assistant")
READ = {
    *("model", "max_tokens", "temperature", "top_p", "seed", "stop", "n", "stream"),
    "stream_options",
}
"""Fields that every request may have."""
IGNORED = {
    *("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"),
    *("parallel_tool_calls", "prompt_cache_retention"),
}
"""Fields that change no answer."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (),
}
"""Fields that may have these values alone, because what they ask for is not offered."""


class Refused(BadRequest):
    """A request that is refused, with the protocol's own code."""

    def __init__(
        self, message: str, field: str = "", code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message, status, field)
        self.code = code


class Asked(NamedTuple):
    """A request that can be answered."""

    model: str
    """Empty where none is named."""
    prompts: list[Prompt]
    samplings: list[Sampling]
    """One for each choice; those of a prompt are one after the other."""
    choices: int
    """Of each prompt."""
    is_streamed: bool
    wants_usage: bool
    """Whether a stream ends with what was used."""


def chat(body: bytes, model: LanguageModel, most: int) -> Asked:
    """A request for a chat completion of at most so many choices. Raises BadRequest."""
    given = _object(parsed_json(body), "the body")
    _require_known(given, {"messages", "max_completion_tokens"})
    messages = [_message(each, f"messages.{n}") for n, each in enumerate(_messages(given))]
    longest = given.get("max_completion_tokens")
    field = "max_tokens" if longest is None else "max_completion_tokens"
    return _asked(given, [model.chat(messages)], model, most, field)


def completion(body: bytes, model: LanguageModel, most: int) -> Asked:
    """A request for completions of at most so many choices. Raises BadRequest."""
    given = _object(parsed_json(body), "the body")
    _require_known(given, {"prompt"})
    texts = given.get("prompt")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        text = f"prompt: got {shown(texts)}, expected a text or a list of texts"
        raise Refused(text, "prompt")
    if len(texts) > most:
        raise Refused(f"prompt: got {len(texts)} texts, expected at most {most}", "prompt")
    return _asked(given, [model.prompt(text) for text in texts], model, most, "max_tokens")


def _asked(
    given: dict[str, Any], prompts: Sequence[Prompt], model: LanguageModel, most: int, field: str
) -> Asked:
    choices = _number(given, "n", 1, _whole(1, most // len(prompts)))
    seed = _number(given, "seed", None, _whole(-MOST_SEED, MOST_SEED))
    sampling = Sampling(
        0,
        temperature=_number(given, "temperature", 0.0, _between(0.0, HOTTEST)),
        top_p=_number(given, "top_p", 1.0, _between(0.0, 1.0)),
        stops=_stops(given.get("stop")),
    )
    wanted = _number(given, field, None, _whole(1, MOST_SEED))
    samplings = [
        sampling._replace(
            most=_most(prompt, wanted, model),
            seed=None if seed is None else seed + choice,
        )
        for prompt in prompts
        for choice in range(choices)
    ]
    is_streamed = _flag(given, "stream", "stream")
    options = _object(given.get("stream_options") or {}, "stream_options")
    if options and not is_streamed:
        raise Refused("stream_options: expected none without `stream`", "stream_options")
    return Asked(
        _text(given, "model"),
        [prompt for prompt in prompts for _ in range(choices)],
        samplings,
        choices,
        is_streamed,
        _flag(options, "include_usage", "stream_options.include_usage"),
    )


def _most(prompt: Prompt, wanted: int | None, model: LanguageModel) -> int:
    """Tokens that may follow the prompt. Raises Refused."""
    room = model.longest - len(prompt.tokens)
    if room < (wanted or 1):
        text = f"the model takes {model.longest} tokens, and got a prompt of {len(prompt.tokens)}"
        more = f" with {wanted} to follow" if wanted else ""
        raise Refused(f"{text}{more}; send less", code="context_length_exceeded")
    return wanted or min(model.written, room)


def _require_known(given: dict[str, Any], more: set[str]) -> None:
    """Return when every field is known and can be answered. Raises Refused."""
    for name, value in given.items():
        if name in READ or name in more or name in IGNORED or value is None:
            continue
        if name not in NEUTRAL:
            known = ", ".join(sorted(READ | more))
            text = f"got the field {name!r:.80}, expected some of {known}"
            raise Refused(text, name[:80], "unknown_parameter")
        if not any(type(value) is type(each) and value == each for each in NEUTRAL[name]):
            text = f"{name}: got {shown(value)}, which is not offered; leave it out"
            raise Refused(text, name, "unsupported_parameter")


def _messages(given: dict[str, Any]) -> list[Any]:
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        text = f"messages: got {shown(messages)}, expected a list of messages"
        raise Refused(text, "messages")
    return messages


def _message(given: Any, place: str) -> dict[str, str]:
    message = _object(given, place)
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        text = f"{place}.role: got {shown(role)}, expected one of {', '.join(ROLES)}"
        raise Refused(text, f"{place}.role")
    if message.get("tool_calls") or message.get("function_call"):
        raise Refused(f"{place}: got calls of tools, which are not offered", place)
    if isinstance(content, list):
        content = "".join(_part(part, f"{place}.content.{n}") for n, part in enumerate(content))
    if not isinstance(content, str):
        text = f"{place}.content: got {shown(content)}, expected a text"
        raise Refused(text, f"{place}.content")
    # Templates know the older name alone.
    return {"role": "system" if role == "developer" else role, "content": content}


def _part(given: Any, place: str) -> str:
    part = _object(given, place)
    if part.get("type") != "text" or not isinstance(part.get("text"), str):
        text = f"{place}: got a part of type {shown(part.get('type'))}, expected `text`"
        raise Refused(text, place)
    return part["text"]


def _stops(given: Any) -> tuple[str, ...]:
    stops = [] if given is None else [given] if isinstance(given, str) else given
    is_list = isinstance(stops, list) and all(isinstance(s, str) and s for s in stops)
    if not is_list or len(stops) > MOST_STOPS:
        text = f"stop: got {shown(given)}, expected a text or at most {MOST_STOPS} of them"
        raise Refused(text, "stop")
    return tuple(stops)


def _object(given: Any, place: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Refused(f"{place}: got {shown(given)}, expected an object", place)
    return given


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name) or ""
    if not isinstance(value, str):
        raise Refused(f"{name}: got {shown(value)}, expected a text", name)
    return value


def _flag(given: dict[str, Any], name: str, place: str) -> bool:
    value = given.get(name)
    if value is not None and type(value) is not bool:
        raise Refused(f"{place}: got {shown(value)}, expected true or false", place)
    return bool(value)


def _number(given: dict[str, Any], name: str, default: Any, read: Callable[[Any], Any]) -> Any:
    """The number of that name, or the default where there is none. Raises Refused."""
    value = given.get(name)
    if value is None:
        return default
    try:
        return read(value)
    except ValueError as error:
        raise Refused(f"{name}: got {shown(value)}, expected {error}", name) from None


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def _between(least: float, most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return read
