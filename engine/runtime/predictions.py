"""What a model's answers mean: class names, actions or values."""

from typing import Any

import numpy as np

from .signature import Signature


def predictions_of(signature: Signature, answers: np.ndarray) -> list[Any]:
    """Class name, number or values of an action, value, or text, for each row."""
    if signature["task"] in ("regression", "text-generation"):
        return answers.reshape(len(answers)).tolist()
    if signature.get("actions") == "values":
        return answers.reshape(len(answers), -1).tolist()
    best = answers.argmax(axis=1).tolist()
    classes = signature["classes"]
    return [classes[index] for index in best] if classes else best


def probabilities_of(signature: Signature, answers: np.ndarray) -> np.ndarray | None:
    """Probability of each class, float64 [rows, classes]; None where the model has no classes.

    Scores that are no probabilities are logits (softmax).
    """
    if not signature["classes"]:
        return None
    scores = answers.reshape(len(answers), -1).astype(np.float64)
    if signature.get("probabilities"):
        return scores
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
