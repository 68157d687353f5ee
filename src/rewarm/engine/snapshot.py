"""The state of a model, an optimizer and the random generators as named tensors, and back again.

Everything comes back bit for bit, and only into something of the same names, shapes and types. Learning rate,
betas and weight decay are not part of it: the campaign says them, a checkpoint never does.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from rewarm.engine.saved_tensors import SavedTensors
from rewarm.engine.tensor_file import type_name
from rewarm.errors import CheckpointError, MismatchError
from rewarm.tensors.held import fill, own_tensors

_MOMENTS = ("exp_avg", "exp_avg_sq")
_STEP = "step"


def load_model_tensors(
    model: nn.Module, tensors: SavedTensors, *, elsewhere: Collection[str] = ()
) -> None:
    """Write tensors into a model, in place, so that what is tied stays tied.

    Args:
        model: of the same architecture.
        tensors: of `own_tensors`.
        elsewhere: names that belong to other parts of the same model.

    Raises:
        CheckpointError: names, shapes or types differ; the model is unchanged.
    """
    own = own_tensors(model)
    _check_same(own, tensors, "the model", elsewhere)
    fill(own, tensors)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return AdamW's moments and step counts, named `<parameter>.exp_avg` and the like.

    A parameter that has had no gradient yet has no state, and no tensors here.

    Args:
        model: names the parameters.
        optimizer: of this model; the tensors are its own, not copies.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in own_tensors(model).items():
        state = optimizer.state.get(tensor, {})
        assert set(state) in (set(), {_STEP, *_MOMENTS})
        tensors |= {f"{name}.{key}": value for key, value in state.items()}
    return tensors


def load_optimizer_tensors(
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    tensors: SavedTensors,
    *,
    elsewhere: Collection[str] = (),
) -> None:
    """Give an optimizer the moments and step counts of another; its settings stay its own.

    Args:
        model: names the parameters.
        optimizer: of this model.
        tensors: of `optimizer_tensors`; they are copied.
        elsewhere: names of parameters that belong to other parts of the same model.

    Raises:
        CheckpointError: they are not of these parameters; the optimizer is unchanged.
    """
    names = {name.rpartition(".")[0] for name in tensors.shapes()}
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    own = own_tensors(model)
    parameters = {
        name: tensor for name, tensor in own.items() if name in names and id(tensor) in owned
    }
    fresh: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        fresh |= {f"{name}.{key}": torch.empty_like(parameter.detach()) for key in _MOMENTS}
        # The fused kernel counts steps on the device, the others on the CPU.
        place = parameter.device if optimizer.defaults["fused"] else torch.device("cpu")
        fresh[f"{name}.{_STEP}"] = torch.empty((), device=place)
    others = {f"{name}.{key}" for name in elsewhere for key in (*_MOMENTS, _STEP)}
    _check_same(fresh, tensors, "the optimizer", others)
    fill(fresh, tensors)
    for tensor in own.values():
        optimizer.state.pop(tensor, None)
    for name, parameter in parameters.items():
        optimizer.state[parameter] = {key: fresh[f"{name}.{key}"] for key in (*_MOMENTS, _STEP)}


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


def _check_same(
    own: Mapping[str, Tensor], given: SavedTensors, whose: str, elsewhere: Collection[str]
) -> None:
    here = {name: (type_name(t.dtype), tuple(t.shape)) for name, t in own.items()}
    there = {name: (given.types()[name], shape) for name, shape in given.shapes().items()}
    differences = [
        *(f"missing: {name}" for name in sorted(set(here) - set(there))),
        *(f"not in {whose}: {name}" for name in sorted(set(there) - set(here) - set(elsewhere))),
        *(
            f"{name}: {_kind(*there[name])} instead of {_kind(*here[name])}"
            for name in sorted(set(here) & set(there))
            if there[name] != here[name]
        ),
    ]
    if differences:
        raise CheckpointError(
            f"The checkpoint is not of {whose} here ({len(differences)} differences): "
            + "; ".join(differences[:20])
            + ". It was made by another model; use the checkpoint of this one."
        )


def _kind(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} {list(shape)}"


def _listed(names: Mapping[str, Tensor] | set[str]) -> str:
    return ", ".join(sorted(names))
