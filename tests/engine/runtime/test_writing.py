"""Texts that are written token by token."""

from engine.runtime.writing import Row, Sampling

WORDS = {1: "the", 2: "cow", 3: "says", 9: ""}


def decode(tokens):
    """As a tokenizer of words that leaves special ones out."""
    return " ".join(WORDS[token] for token in tokens if WORDS[token])


def test_a_special_token_between_words_costs_no_space():
    told = []
    row = Row([1], Sampling(5), decode, told.append)
    for token in (1, 9, 9, 2, 3):
        row.add(token, is_end=False)
    assert "".join(part.text for part in told) == decode([1, 9, 9, 2, 3]) == "the cow says"
    assert told[-1].ending == "length"
