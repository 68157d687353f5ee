"""A causal language model without its weights, and memory for them; `rewarm.tensors` fills it.

The parameters are on the meta device: they have a shape and take no memory. The buffers are real, because no
file has all of them (rotary frequencies, the scale of Gemma's embedding) and only the model's own code knows
how to compute them.
"""

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedConfig, PreTrainedModel

from rewarm.errors import CheckpointError


def empty_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Build the causal language model of a configuration, without memory or work for its weights.

    No other thread may build a module meanwhile: its parameters would be on the meta device as well.

    Args:
        config: of a family of transformers.

    Returns:
        The model, in float32 and in training mode, its parameters on the meta device and its buffers on
        the CPU. Weights that the configuration ties are one parameter. The caller's random state is as
        it was.

    Raises:
        CheckpointError: transformers cannot build a model from the configuration.
    """
    try:
        kind: type[PreTrainedModel] = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]  # type: ignore[assignment]  # lazy
        hook = register_module_parameter_registration_hook(_to_meta)  # type: ignore[arg-type]  # the result counts
        try:
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                model = kind(config)
        finally:
            hook.remove()
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"transformers cannot build or run this model ({type(config).__name__}): {error}. Its config.json "
            "does not make sense, or it needs another version of transformers."
        ) from error
    return model.float().train()


def _to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter) -> nn.Parameter | None:
    """Take the place of a parameter as it is registered; one that is on meta already, a tied one, stays."""
    if parameter.device.type == "meta":
        return None
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)


def materialise(model: nn.Module, device: torch.device) -> None:
    """Give every parameter on the meta device memory, in place; ties stay ties, the content is undefined.

    Args:
        model: of `empty_model`, or a piece of one; its parameters may be split (DTensor). Its buffers are
            moved to the device.
        device: a real one.
    """
    real: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None or parameter.device.type != "meta":
                continue
            if id(parameter) not in real:
                real[id(parameter)] = nn.Parameter(
                    _memory(parameter.detach(), device), parameter.requires_grad
                )
            module._parameters[name] = real[id(parameter)]
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)


def _memory(tensor: Tensor, device: torch.device) -> Tensor:
    """Return undefined memory for a tensor, or for this rank's part of it."""
    if not isinstance(tensor, DTensor):
        return torch.empty_like(tensor, device=device)
    return DTensor.from_local(
        torch.empty_like(tensor.to_local(), device=device),
        tensor.device_mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )
