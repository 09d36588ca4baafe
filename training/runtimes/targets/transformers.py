"""Networks of transformers for texts, with their tokenizers."""

import shutil
from pathlib import Path
from typing import Any

from engine.artefact import ModelNotes, TensorSignature
from engine.protocol import Refused
from engine.runtime.runtimes.transformers import INPUT, RUNTIME
from training.contract import DatasetFiles
from training.runtimes.target import Described, Target, task_of

KINDS = {
    "text-generation": ("ForCausalLM", "LMHeadModel"),
    "classification": ("ForSequenceClassification",),
    "regression": ("ForSequenceClassification",),
}
"""Ends of the names of architectures, by the task that they are for."""


class Transformers(Target):
    """Takes a folder that `save_pretrained` of a model and of its tokenizer has written."""

    @property
    def expects(self) -> str:
        """What a trainer leaves for it."""
        return f"{RUNTIME.model}/ (save_pretrained of a network for texts and of its tokenizer)"

    def takes(self, checkpoint: Path) -> bool:
        """Whether there is such a folder."""
        return (checkpoint / RUNTIME.model / "config.json").exists()

    def export(self, checkpoint: Path, folder: Path) -> None:
        """The folder as it is."""
        shutil.copytree(checkpoint / RUNTIME.model, folder / RUNTIME.model)

    def describe(self, folder: Path, dataset: DatasetFiles | None, notes: ModelNotes) -> Described:
        """One input, which the text column of the dataset fills, and the model's classes."""
        from transformers import AutoConfig

        if dataset is None:
            raise Refused("a network for texts takes texts; declare the model's dataset")
        config: Any = AutoConfig.from_pretrained(folder / RUNTIME.model, local_files_only=True)
        made_for = ", ".join(config.architectures or ["unknown"])
        task = task_of(dataset)
        if not made_for.endswith(KINDS[task]):
            raise Refused(
                f"the model is a {config.model_type} ({made_for}), expected for {task} one "
                f"whose architecture ends with {' or '.join(KINDS[task])}"
            )
        read = [text_column(dataset, notes)]
        inputs = [TensorSignature(name=INPUT, dtype="string", shape=[1], columns=read)]
        if task == "text-generation":
            return Described(inputs, [TensorSignature(name="written", dtype="string", shape=[])])
        size = config.num_labels
        names = [config.id2label[position] for position in range(size)]
        # What transformers calls classes that nobody has named.
        is_named = names != [f"LABEL_{position}" for position in range(size)]
        return Described(
            inputs,
            [TensorSignature(name="logits", dtype="float32", shape=[size])],
            names if is_named else [],
        )


TARGET = Transformers()


def text_column(dataset: DatasetFiles, notes: ModelNotes) -> str:
    """The column that the model reads: the one that is declared, else the only one of text.

    Raises Refused where there are several.
    """
    declared = [name for columns in notes.inputs.values() for name in columns]
    texts = [column.name for column in dataset.columns if column.kind in ("text", "category")]
    free = [column.name for column in dataset.columns if column.kind == "text"]
    found = declared or free or texts
    if len(found) != 1:
        raise Refused(
            f"the dataset has the columns of text {found}, expected one that the model reads: name "
            "it by features: [COLUMN] of the dataset, or by inputs: {text: [COLUMN]}"
        )
    return found[0]
