"""Lab part, a vLLM plugin: what the CPU build of vLLM 0.32.0 lacks to serve a MoE model with expert parallelism.

It never runs on an NPU; vllm-ascend brings its own communicator and kernels. Three things are mended:
- the CPU communicator has no all_gatherv/reduce_scatterv (tokens of all ranks, of unequal number);
- the CPU MoE kernel takes expert ids as indexes into its own experts, and dies on those of another rank.
"""

import torch


def all_gatherv(self, input_, dim=0, sizes=None):
    """Concatenate the tensors of all ranks along their first dimension, however many rows each one has."""
    assert dim == 0
    if isinstance(input_, (list, tuple)):
        return [all_gatherv(self, tensor, dim, sizes) for tensor in input_]
    if sizes is None:
        sizes = [input_.shape[0]] * self.world_size
    parts = pad_to(input_, max(sizes)).new_empty((self.world_size, max(sizes), *input_.shape[1:]))
    torch.distributed.all_gather_into_tensor(parts.flatten(0, 1), pad_to(input_, max(sizes)), group=self.cpu_group)
    return torch.cat([part[:size] for part, size in zip(parts, sizes)])


def reduce_scatterv(self, input_, dim=0, sizes=None):
    """Add the tensors of all ranks up and return this rank's rows."""
    assert dim == 0
    if sizes is None:
        sizes = [input_.shape[0] // self.world_size] * self.world_size
    total = input_.contiguous().clone()
    torch.distributed.all_reduce(total, group=self.cpu_group)
    first = sum(sizes[: self.rank_in_group])
    return total[first : first + sizes[self.rank_in_group]].contiguous()


def pad_to(tensor, rows):
    if tensor.shape[0] == rows:
        return tensor.contiguous()
    return torch.cat([tensor, tensor.new_zeros(rows - tensor.shape[0], *tensor.shape[1:])])


def local_experts(apply):
    """The kernel call with expert ids of this rank only; a foreign expert gets weight 0."""

    def mapped(self, *args, **kwargs):
        expert_map = kwargs.get("expert_map")
        if expert_map is not None:
            ids = expert_map[kwargs["topk_ids"].long()]
            kwargs["topk_weights"] = kwargs["topk_weights"].masked_fill(ids < 0, 0)
            kwargs["topk_ids"] = ids.clamp(min=0).to(kwargs["topk_ids"].dtype)
        return apply(self, *args, **kwargs)

    return mapped


def register():
    from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator
    from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

    if getattr(CPUUnquantizedExperts, "ascend_lab", False):
        return
    CpuCommunicator.all_gatherv = all_gatherv
    CpuCommunicator.reduce_scatterv = reduce_scatterv
    CPUUnquantizedExperts.apply = local_experts(CPUUnquantizedExperts.apply)
    CPUUnquantizedExperts.ascend_lab = True
