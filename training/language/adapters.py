"""Low-rank adapters by PEFT: what a network learns in their place, and the network with them
added."""

from typing import Any

from engine.protocol import Refused
from training.language.settings import Lora


def adapted(network: Any, lora: Lora) -> Any:
    """The network with adapters, which alone are learned, with the layers that lie outside of its
    pretrained body, as the head of a classifier does.

    Raises Refused where no layer has a name that ends so.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL

    is_usual = network.config.model_type in USUAL
    config = LoraConfig(
        r=lora.rank,
        # PEFT names it an int, and divides it by the rank.
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=lora.dropout,
        target_modules=lora.targets or (None if is_usual else "all-linear"),
        modules_to_save=_head(network) or None,
    )
    try:
        return get_peft_model(network, config)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name, _ in network.named_modules() if name})
        raise Refused(
            f"the network takes no adapters so: {error}; expected lora: targets to be ends of the "
            f"names of its layers, which are {', '.join(names)}"
        ) from error


def merged(network: Any) -> Any:
    """The network as it was laid out before, with what its adapters have learned; one without
    adapters as it is."""
    from peft import PeftModel

    return network.merge_and_unload() if isinstance(network, PeftModel) else network


def _head(network: Any) -> list[str]:
    """Layers that no pretraining has learned."""
    if network.get_output_embeddings() is not None:
        return []
    body = network.base_model
    outside = [(name, part) for name, part in network.named_children() if part is not body]
    return [name for name, part in outside if next(part.parameters(), None) is not None]
