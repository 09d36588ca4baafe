"""Conversations: messages with `role` and `content`, kept as JSON, which the chat template of a
tokenizer makes a text of."""

import json
from typing import Any

ANSWER = ".answer"
"""End of the name of the column with the last answer, after that of the column with what is said
before it."""
READS = "reads_conversations"
"""Where the configuration of a tokenizer says that its network learned from conversations."""

Message = dict[str, Any]


def divided(messages: list[Message]) -> tuple[list[Message], str | None]:
    """What is said before the last answer of an assistant, and that answer; what comes after it
    is left out. Without an answer all of it, and None."""
    for place in reversed(range(len(messages))):
        content = messages[place].get("content")
        if messages[place].get("role") == "assistant" and content:
            return messages[:place], content
    return messages, None


def messages_of(text: str) -> list[Message]:
    """The messages that the JSON is; another text is what a user says."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, list) and all(isinstance(each, dict) and "role" in each for each in found):
        return found
    return [{"role": "user", "content": text}]


def reads_conversations(tokenizer: Any) -> bool:
    """Whether the network of the tokenizer learned from conversations."""
    return bool(tokenizer.init_kwargs.get(READS))


def prompt_of(tokenizer: Any, messages: list[Message]) -> str:
    """The text after which the assistant answers. Raises jinja2.TemplateError for messages that
    the chat template does not take."""
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
