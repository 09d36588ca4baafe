"""What a language model is given: a text, or the messages of a conversation."""

from collections.abc import Sequence
from typing import Any

from . import conversations, networks
from .bad_request import BadRequest
from .writing import Prompt


def prompt_of(tokenizer: Any, text: str) -> list[int]:
    """Tokens of the text, or of the conversation that it is for a network that reads these; an
    empty one begins as the tokenizer begins or ends texts."""
    if conversations.reads_conversations(tokenizer):
        prompt = conversations.prompt_of(tokenizer, conversations.messages_of(text))
        return tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tokens = tokenizer(text)["input_ids"]
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, networks.padding_of(tokenizer))
    # Some tokenizers end a text, which is not what is to be continued.
    if tokens and tokens[-1] == tokenizer.eos_token_id:
        tokens = tokens[:-1]
    return tokens or [next(each for each in known if each is not None)]


def chat_of(tokenizer: Any, messages: Sequence[dict[str, str]]) -> Prompt:
    """Messages (`role`, `content`) by the tokenizer's chat template, up to the model's answer.

    Without a template they are their contents, each in a line of its own. Raises BadRequest where
    the template refuses them.
    """
    if not getattr(tokenizer, "chat_template", None):
        text = "\n".join(message["content"] for message in messages)
        return Prompt(text, prompt_of(tokenizer, text))
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        refused = f"messages: the chat template of the model refuses them: {error!s:.200}"
        raise BadRequest(refused, field="messages") from error
    # The template writes the special tokens itself.
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Prompt(text, tokens or prompt_of(tokenizer, text))
