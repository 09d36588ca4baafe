"""The exported artefact: the bytes that are registered, attacked, gated and served.

A folder with the model as its runtime reads it (such as `model.onnx`), `model.pt2` (where the model
is a PyTorch module), `signature.json` and `manifest.json`; its name is the SHA-256 over the
manifest's entries.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from engine.protocol import Contract
from engine.runtime.runtime import DEFAULT
from engine.runtime.signature import current

ONNX = "model.onnx"
PROGRAM = "model.pt2"
SIGNATURE = "signature.json"
MANIFEST = "manifest.json"
EXAMPLE = "input_example.json"
"""Rows by position, as JSON, that every reader of the artefact may try it with."""
NOTES = "model.json"
"""File in which a trainer may say beside its model what the model's own format cannot."""
CHUNK_BYTES = 1 << 20


Task = Literal["classification", "regression", "control", "text-generation"]
Actions = Literal["scores", "values"]
DType = Literal[
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
    "string",
]


class TensorSignature(Contract):
    """Name, element type and shape of a tensor without its batch dimension."""

    name: str
    dtype: DType
    shape: list[int]
    columns: list[str] = []
    """Columns of a row that fill an input, in order; none where rows come by position only."""


ColumnKind = Literal["number", "integer", "boolean", "category", "text", "date"]


class Column(Contract):
    """One column of the rows that a model takes."""

    name: str
    kind: ColumnKind
    nullable: bool = False
    """Whether a value may be missing."""
    categories: list[str] = []
    """Every value of a category."""
    low: float | None = None
    high: float | None = None
    """Declared range of a number."""


class SplitContent(Contract):
    """What one split of a dataset version holds."""

    rows: int
    class_counts: dict[str, int] = {}
    """Rows by class, where the label has classes."""
    mean: float | None = None
    """Mean of the label where a number is predicted; None in versions that were written without."""


class ModelNotes(Contract):
    """What a trainer may say of its model."""

    actions: Actions = "scores"
    """What the outputs of a control policy are: a score for each of several actions, or the
    values of a continuous action."""
    inputs: dict[str, list[str]] = {}
    """Columns that fill each input, in order; by default an input has the name of its column."""
    answer: str = ""
    """Output that answers, where several could."""
    classes: list[str] = []
    """Classes in the order of the model's scores; by default what the model itself says, else the
    dataset's order."""


class Signature(Contract):
    """What the model takes and gives, for typed requests and replies."""

    runtime: str = DEFAULT
    """What runs the model: a module of `engine.runtime.runtimes`, or an entry point."""
    inputs: list[TensorSignature]
    outputs: list[TensorSignature]
    task: Task
    classes: list[str] = []
    """Labels in the order of the scores, for classification."""
    order: list[int] = []
    """Position of each class among the scores that the model itself gives; empty where they are
    in the order of the classes."""
    columns: list[Column] = []
    """Columns of a row, in the order of rows by position; none where a row is one tensor."""
    answer: str = ""
    """Output with the scores or the value; by default the first."""
    probabilities: bool = False
    """Whether the scores of the classes are probabilities; else they are logits."""
    actions: Actions = "scores"
    """What the outputs of a control policy are."""

    @model_validator(mode="before")
    @classmethod
    def _in_todays_form(cls, given: Any) -> Any:
        return current(given) if isinstance(given, dict) else given

    @property
    def features(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    @property
    def output(self) -> TensorSignature:
        """The output that answers. Raises StopIteration where there is none of that name."""
        wanted = self.answer or self.outputs[0].name
        return next(output for output in self.outputs if output.name == wanted)

    @property
    def matrix(self) -> TensorSignature | None:
        """The only input, where it is numbers; None for models that take several, or text."""
        is_alone = len(self.inputs) == 1 and self.inputs[0].dtype != "string"
        return self.inputs[0] if is_alone else None


class ArtefactCorrupt(Exception):
    """The bytes of an artefact are not those its manifest names."""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def manifest_of(folder: Path) -> dict[str, str]:
    """SHA-256 by relative path for every file of the folder, but the manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    return {str(p.relative_to(folder)): sha256_of(p) for p in files}


def digest_of(manifest: dict[str, str]) -> str:
    """Content hash of a manifest: SHA-256 over its canonical JSON."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def seal(folder: Path) -> str:
    """Content hash of the folder, whose manifest is now written."""
    manifest = manifest_of(folder)
    # Not forced to the disk: bytes that a power cut loses are found missing by `verify`.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True))
    return digest_of(manifest)


def verify(folder: Path, digest: str | None = None) -> str:
    """Content hash of a sealed folder whose every byte was checked.

    Raises ArtefactCorrupt when a file is missing, cut, changed or added, or when the hash is
    not the one expected.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactCorrupt(f"{folder} has no readable {MANIFEST}: {error}") from error
    if not isinstance(manifest, dict):
        raise ArtefactCorrupt(f"{folder / MANIFEST} is a {type(manifest).__name__}, not a mapping")
    actual = manifest_of(folder)
    if actual != manifest:
        names = sorted(n for n in actual.keys() | manifest if actual.get(n) != manifest.get(n))
        raise ArtefactCorrupt(f"{folder} differs from its manifest in {', '.join(names)}")
    if digest is not None and digest_of(manifest) != digest:
        raise ArtefactCorrupt(f"{folder} has hash {digest_of(manifest)}, expected {digest}")
    return digest_of(manifest)


def is_sealed(folder: Path, digest: str | None = None) -> bool:
    """Whether the folder is whole, and of that content hash where one is given."""
    try:
        verify(folder, digest)
    except ArtefactCorrupt:
        return False
    return True


def read_signature(folder: Path) -> Signature:
    """The signature of the artefact.

    Raises OSError, pydantic's ValidationError, or ArtefactCorrupt where outputs and classes do not
    fit: such a model would answer with the wrong class.
    """
    signature = Signature.model_validate_json((folder / SIGNATURE).read_bytes())
    if fault := output_fault(signature):
        raise ArtefactCorrupt(f"{folder} cannot be used: {fault}")
    return signature


def output_fault(signature: Signature) -> str:
    """Why the outputs do not answer the task, in a sentence; empty where they do."""
    output = signature.output
    is_text = output.dtype == "string"
    if signature.task == "text-generation":
        return "" if is_text else f"got the output {output.name!r} of numbers, expected a text"
    if is_text or output.dtype == "bool":
        return (
            f"got the output {output.name!r} of type {output.dtype}, expected numbers: scores of "
            "the classes or actions, or a value"
        )
    return _shape_fault(signature, output.shape)


def _shape_fault(signature: Signature, shape: list[int]) -> str:
    if signature.task == "classification":
        classes = len(signature.classes)
        if shape == [classes]:
            return ""
        return (
            f"got outputs of shape {['rows', *shape]} for {classes} classes, expected "
            f"['rows', {classes}]: one score for each class, in the order of the classes; give "
            f"the last layer {classes} outputs, and train it with a cross-entropy over them"
        )
    if signature.task == "regression" and shape not in ([], [1]):
        return (
            f"got outputs of shape {['rows', *shape]} for a regression, expected ['rows', 1]: one "
            "value for each row; give the last layer one output"
        )
    if signature.task == "control" and len(shape) != 1:
        return (
            f"got outputs of shape {['rows', *shape]} for a control policy, expected one score "
            "for each action, or the values of one action"
        )
    return ""


def copy_sealed(source: Path, target: Path) -> None:
    """Copy a sealed folder into place whole or not at all.

    A target that is a whole copy is kept; one that is damaged is replaced. Raises OSError.
    """
    manifest = (source / MANIFEST).read_bytes()
    if is_sealed(target) and (target / MANIFEST).read_bytes() == manifest:
        return
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(source, draft)
        # A rename cannot replace a folder that is not empty.
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
