"""The forms of texts to learn from: one after another, and conversations."""

from abc import ABC, abstractmethod
from typing import Any

from engine.protocol import Refused
from engine.runtime.conversations import Message, messages_of, prompt_of
from engine.runtime.runtimes.transformers import continued
from training.language.examples import Example, example_of

Part = tuple[str, bool]
"""A piece of text, and whether it is learned."""


class Form(ABC):
    """How a row of the dataset becomes tokens of which some are learned."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @abstractmethod
    def examples(self, before: str, text: str, weight: float, longest: int) -> list[Example]:
        """Examples of at most so many tokens."""


class Following(Form):
    """A text that follows another; it alone is learned."""

    def examples(self, before: str, text: str, weight: float, longest: int) -> list[Example]:
        """One example."""
        tokens, first = continued(self._tokenizer, longest, before, text)
        return [example_of(tokens, [(first, len(tokens))], weight)]


class Chat(Form):
    """A conversation in the form that the tokenizer's chat template gives it, of which all that
    the assistant says is learned."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises Refused where the tokenizer has no chat template."""
        super().__init__(tokenizer)
        if not tokenizer.chat_template:
            raise Refused(
                "the tokenizer has no chat template, and the dataset is of conversations; expected "
                "a model that was made for these, such as one whose name ends with -Instruct or "
                "-Chat, or a tokenizer that was saved with its chat_template"
            )

    def examples(self, before: str, text: str, weight: float, longest: int) -> list[Example]:
        """One example; one for each answer where the template writes an answer in another way when
        the conversation goes on."""
        said = messages_of(before) if before else []
        messages = [*said, {"role": "assistant", "content": text}]
        whole = self._parts(messages)
        found = [whole] if whole else self._answers(messages)
        return [self._example(parts, weight, longest) for parts in found]

    def _parts(self, messages: list[Message]) -> list[Part]:
        """The conversation in pieces; none where they are not the beginnings of each other."""
        parts: list[Part] = []
        done = ""
        for prompt, told in self._turns(messages):
            if not told.startswith(prompt) or not prompt.startswith(done):
                return []
            parts += [(prompt[len(done) :], False), (told[len(prompt) :], True)]
            done = told
        return parts

    def _answers(self, messages: list[Message]) -> list[list[Part]]:
        found = []
        for prompt, told in self._turns(messages):
            if not told.startswith(prompt):
                raise Refused(
                    "the chat template does not begin an answer as it asks for one: expected one "
                    f"whose text with add_generation_prompt, which ends with {prompt[-40:]!r}, is "
                    "the beginning of the text with the answer"
                )
            found.append([(prompt, False), (told[len(prompt) :], True)])
        return found

    def _turns(self, messages: list[Message]) -> list[tuple[str, str]]:
        """For each answer the text before it, and the text with it. Raises Refused where the
        template does not take the messages."""
        from jinja2 import TemplateError

        places = [i for i, each in enumerate(messages) if each["role"] == "assistant"]
        try:
            return [
                (
                    prompt_of(self._tokenizer, messages[:place]),
                    self._tokenizer.apply_chat_template(messages[: place + 1], tokenize=False),
                )
                for place in places
                if messages[place].get("content")
            ]
        except TemplateError as error:
            roles = ", ".join(str(each["role"]) for each in messages[:8])
            raise Refused(
                f"the chat template of the model does not take a conversation of {roles}: {error}"
            ) from error

    def _example(self, parts: list[Part], weight: float, longest: int) -> Example:
        tokens: list[int] = []
        spans = []
        for text, is_learned in parts:
            begin = len(tokens)
            tokens += self._tokenizer(text, add_special_tokens=False)["input_ids"]
            if is_learned:
                spans.append((begin, len(tokens)))
        end = self._tokenizer.eos_token_id
        if end is not None and end not in tokens[spans[-1][0] :]:
            tokens.append(end)
            spans[-1] = (spans[-1][0], len(tokens))
        # The last answer decides; what is too long loses its beginning.
        cut = max(0, len(tokens) - longest)
        inside = [(max(0, begin - cut), end - cut) for begin, end in spans if end > cut]
        return example_of(tokens[cut:], inside, weight)
