"""What may be declared for every trainer of texts."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Lora(BaseModel):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    model_config = ConfigDict(extra="forbid")

    rank: int = Field(default=8, ge=1)
    """Inner dimension of the matrices that are learned."""
    alpha: float = Field(default=16, gt=0)
    """What they give is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of their inputs that is left out while learning."""
    targets: list[str] | None = None
    """Ends of the names of the layers that get one; by default those that are usual for the
    network, else every linear layer."""


class Hyperparameters(BaseModel):
    """What may be declared for every trainer of texts."""

    pretrained: str
    """A model of the hub, a folder that begins with `./` or `/`, or `s3://BUCKET/FOLDER`, with its
    tokenizer."""
    revision: str | None = None
    """The model's commit."""
    epochs: int = Field(ge=1)
    """Times that all training rows are learned from."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Of AdamW at its highest: it rises over the first tenth of the steps, and falls to zero."""
    batch_size: int = Field(default=16, ge=1)
    """Rows that each worker gives the network at once."""
    accumulate: int = Field(default=1, ge=1)
    """Batches that a step learns from: their gradients are added up, so that many small ones are
    like a large one."""
    longest: int | None = Field(default=None, ge=2)
    """Tokens of a row that are read; by default as many as the network takes."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    lora: Lora | None = None
    """Adapters `{rank, alpha, dropout, targets}` that are learned in place of the network's own
    weights, and added to these at the end; `{}` for the usual ones."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's computations: by default bfloat16 on GPUs and float32 elsewhere. Weights
    that are learned are kept in float32."""
    gradient_checkpointing: bool = False
    """Whether the network computes its inner values a second time rather than keeping them: less
    memory for about a third more time."""
    compile: bool = False
    """Whether the network is compiled by `torch.compile`, which takes minutes and makes long
    trainings faster."""
    shard: bool = False
    """Whether several workers divide the weights and the optimizer's values among them (FSDP2)
    rather than each having all (DDP)."""
    checkpoint_every_s: float = Field(default=30, ge=0)
    """Seconds of work that a crash may cost, besides the epoch under way."""
