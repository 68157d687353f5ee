"""What tensors are called in a file and in a model; the two differ in some families.

GPT-NeoX's head is `embed_out.weight` in a file and `lm_head.weight` in memory. transformers has the rules,
and they are used here. A rule that does more than rename (Mixtral's experts, which are one tensor each in a
file and fused in memory) is a conversion.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    rename_source_key,
    revert_weight_conversion,
)


def model_names(model: PreTrainedModel, stored: Iterable[str]) -> dict[str, str] | None:
    """Return what each tensor of some files is called in a model.

    Args:
        model: its weights may be on the meta device.
        stored: the names in the files.

    Returns:
        For each name in the files the name in the model, which may be one that the model does not have;
        None if a tensor has to be converted, not only renamed.
    """
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    own = model.state_dict()
    prefix = model.base_model_prefix
    names: dict[str, str] = {}
    for name in stored:
        renamed, pattern = rename_source_key(name, renamings, converters, prefix, own)
        if renamed not in own and name in own:
            renamed, pattern = name, None
        if pattern is not None:
            return None
        names[name] = renamed
    return names


def is_left_out(model: PreTrainedModel, name: str) -> bool:
    """Tell whether older files of the family have a tensor of this name that the model no longer needs.

    Args:
        model: says which.
        name: of a tensor that the model does not have.
    """
    patterns = set(model._keys_to_ignore_on_load_unexpected or ())
    buffers = [buffer for buffer, _ in model.named_buffers()]
    # These were in the files of every family once, and are computed today.
    if any(buffer.endswith("rotary_emb.inv_freq") for buffer in buffers):
        patterns.add(r"rotary_emb\.inv_freq")
    if any(buffer.endswith("position_ids") for buffer in buffers):
        patterns.add(r"(^|\.)position_ids$")
    return any(re.search(pattern, name) for pattern in patterns)


def first_names(model: PreTrainedModel) -> dict[str, str]:
    """Return for each name in the model's `state_dict` the first name of the same tensor."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name)
        for name, tensor in model.state_dict(keep_vars=True).items()
    }


def converts_on_save(model: PreTrainedModel) -> bool:
    """Tell whether the tensors of a model are more than renamed when they are written to files."""
    rules = get_model_conversion_mapping(model, add_legacy=False)
    return any(isinstance(rule, WeightConverter) for rule in rules)


def stored_tensors(model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the names, and in the form, that they have in files.

    Args:
        model: its weights may be on the meta device.
        tensors: by their names in the model; all of them if the model `converts_on_save`.
    """
    return revert_weight_conversion(model, dict(tensors))
