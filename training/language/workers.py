"""Several workers that learn one network: each has all of it (DDP), or a shard (FSDP2).

One worker alone learns as if there were no others.
"""

import contextlib
import copy
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.nn.parallel import DistributedDataParallel


class Workers:
    """This worker and the others of its job."""

    def __init__(self, *, shard: bool) -> None:
        context = ray.train.get_context()
        self.rank, self.count = context.get_world_rank(), context.get_world_size()
        self.device = ray.train.torch.get_device()
        self._shards = shard and self.count > 1
        self._whole: Any = None

    def prepared(self, network: Any) -> nn.Module:
        """The network on the device of this worker, as it learns with the others."""
        if self._shards:
            # Without values: it costs no memory, and takes the shards when these are brought
            # together.
            self._whole = copy.deepcopy(network).to("meta")
            return _sharded(network.to(self.device))
        if self.count == 1:
            return network.to(self.device)
        return ray.train.torch.prepare_model(network)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of the values of all workers."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def gradients_of(
        self, network: nn.Module, *, is_last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """Where the gradients of a batch are computed: workers bring theirs together after the
        last batch of a step alone."""
        if isinstance(network, DistributedDataParallel) and not is_last:
            return network.no_sync()
        if self._shards:
            network.set_requires_gradient_sync(is_last)  # pyright: ignore[reportCallIssue]
        return contextlib.nullcontext()

    def agree(self, does: bool) -> bool:
        """Whether the worker of rank 0 does so, which all of them follow."""
        says = torch.tensor(float(does and self.rank == 0), device=self.device)
        return bool(self.sum(says) > 0)

    def whole(self, network: Any) -> Any:
        """The network with all its values, at the worker of rank 0; every worker calls it."""
        if not self._shards:
            return network
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(network, options=options)
        if self.rank == 0:
            self._whole.load_state_dict(state, assign=True)
            self._whole.tie_weights()
        return self._whole


def _sharded(network: nn.Module) -> nn.Module:
    """The network in shards, by the layers that it repeats."""
    from torch.distributed.fsdp import fully_shard

    for part in network.modules():
        if isinstance(part, nn.ModuleList):
            for layer in part:
                fully_shard(layer)
    fully_shard(network)
    return network
