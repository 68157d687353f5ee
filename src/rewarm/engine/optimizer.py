"""AdamW as the paper uses it.

The learning rate is set by the caller before every step and is 0 until then: the schedule is a function of
the step, and nothing of it is kept here or in a checkpoint.
"""

import torch
from torch import nn
from torch.distributed.tensor import DTensor

_FUSED_DEVICES = {"cpu", "cuda"}


def build_adamw(
    model: nn.Module, *, betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.AdamW:
    """Build AdamW over the trainable parameters; matrices decay, biases and norms do not.

    The embedding and the head are matrices and do decay. The fused kernel is used where all parameters
    are on a CPU or a CUDA device, else the multi-tensor one; they differ in the last bits.

    Args:
        model: its parameters with two or more dimensions decay, those with fewer do not.
        betas: decay of the averages of the gradient and of its square, each in [0, 1).
        eps: added to the denominator, > 0.
        weight_decay: times the learning rate, the part of a matrix taken off at each step, >= 0.

    Source: paper Table 13 (0.9, 0.95, 1e-8, 0.1). GPT-NeoX leaves out LayerNorm parameters and biases by
    module type and name; for GPT-NeoX, Llama and Qwen3 models the two rules choose the same parameters.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = all(parameter.device.type in _FUSED_DEVICES for parameter in trainable)
    # A kernel takes many tensors at once, but only such as are spread over the same ranks.
    meshes = dict.fromkeys(p.device_mesh if isinstance(p, DTensor) else None for p in trainable)
    groups = [
        {"params": chosen, "weight_decay": weight_decay if is_matrix else 0.0}
        for mesh in meshes or [None]
        for is_matrix in (True, False)
        if (
            chosen := [
                p
                for p in trainable
                if (p.ndim >= 2) == is_matrix
                and (p.device_mesh if isinstance(p, DTensor) else None) == mesh
            ]
        )
    ]
    return torch.optim.AdamW(
        groups, lr=0.0, betas=betas, eps=eps, fused=fused, foreach=None if fused else True
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step.

    Args:
        optimizer: of `build_adamw`.
        lr: absolute, >= 0, the same for all parameters.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
