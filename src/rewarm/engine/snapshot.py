"""The state of a model, an optimizer and the random generators as named tensors, and back again.

Everything comes back bit for bit, and only into something of the same names, shapes and types. Learning rate,
betas and weight decay are not part of it: the campaign says them, a checkpoint never does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rewarm.errors import CheckpointError, MismatchError

_MOMENTS = ("exp_avg", "exp_avg_sq")
_STEP = "step"


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and the persistent buffers by name; a tied tensor has its first name alone.

    Args:
        model: the tensors are its own, not copies.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def load_model_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors into a model, in place, so that what is tied stays tied.

    Args:
        model: of the same architecture.
        tensors: of `model_tensors`.

    Raises:
        CheckpointError: names, shapes or types differ; the model is unchanged.
    """
    own = model_tensors(model)
    _check_same(own, tensors, "the model")
    for name, tensor in tensors.items():
        own[name].copy_(tensor)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return AdamW's moments and step counts, named `<parameter>.exp_avg` and the like.

    A parameter that has had no gradient yet has no state, and no tensors here.

    Args:
        model: names the parameters.
        optimizer: of this model; the tensors are its own, not copies.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        assert set(state) in (set(), {_STEP, *_MOMENTS})
        tensors |= {f"{name}.{key}": tensor for key, tensor in state.items()}
    return tensors


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.AdamW, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer the moments and step counts of another; its settings stay its own.

    Args:
        model: names the parameters.
        optimizer: of this model.
        tensors: of `optimizer_tensors`; they are copied.

    Raises:
        CheckpointError: they are not of these parameters; the optimizer is unchanged.
    """
    names = {name.rpartition(".")[0] for name in tensors}
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    parameters = {
        name: parameter
        for name, parameter in model.named_parameters()
        if name in names and id(parameter) in owned
    }
    expected: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        expected |= {f"{name}.{key}": parameter.detach() for key in _MOMENTS}
        expected[f"{name}.{_STEP}"] = torch.empty(())
    _check_same(expected, tensors, "the optimizer")
    optimizer.state.clear()
    for name, parameter in parameters.items():
        state = {key: tensors[f"{name}.{key}"].to(parameter.device, copy=True) for key in _MOMENTS}
        # The fused kernel counts steps on the device, the others on the CPU.
        place = parameter.device if optimizer.defaults["fused"] else torch.device("cpu")
        state[_STEP] = tensors[f"{name}.{_STEP}"].to(place, copy=True)
        optimizer.state[parameter] = state


def random_tensors(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators as bytes: the CPU's, and the GPU's if that is the device.

    Args:
        device: where training runs.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_random_tensors(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Set torch's generators.

    Args:
        tensors: of `random_tensors`.
        device: where training runs.

    Raises:
        MismatchError: they are of training on another kind of device, where the numbers to come would
            differ; nothing is set.
    """
    here = {"cpu", device.type}
    if set(tensors) != here:
        raise MismatchError(
            f"The random states are of {_listed(tensors)}; here are {_listed(here)}. The draws to come would "
            "not be those of the run that was stopped. Continue on the same kind of machine."
        )
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], device)


def _check_same(own: Mapping[str, Tensor], given: Mapping[str, Tensor], whose: str) -> None:
    differences = [
        *(f"missing: {name}" for name in sorted(set(own) - set(given))),
        *(f"not in {whose}: {name}" for name in sorted(set(given) - set(own))),
        *(
            f"{name}: {_kind(given[name])} instead of {_kind(own[name])}"
            for name in sorted(set(own) & set(given))
            if _kind(own[name]) != _kind(given[name])
        ),
    ]
    if differences:
        raise CheckpointError(
            f"The checkpoint is not of {whose} here ({len(differences)} differences): "
            + "; ".join(differences[:20])
            + ". It was made by another model; use the checkpoint of this one."
        )


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _listed(names: Mapping[str, Tensor] | set[str]) -> str:
    return ", ".join(sorted(names))
