"""Nested state to (named tensors, JSON) and back: exact inverses, and nothing that could run code.

Tensors and arrays go to a flat dict for safetensors and leave a reference behind; everything else becomes
JSON. What JSON cannot say (tuples, keys that are no strings, numbers that are not finite, arrays) is a
one-key object whose key begins with `$`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsal_dist.errors import CheckpointError

Tensors = dict[str, Tensor]


def encode_state(state: Any) -> tuple[Tensors, bytes]:
    """The tensors of `state` by path, on the CPU and owning their memory, and all the rest as JSON."""
    tensors: Tensors = {}
    tree = _encode(state, "", tensors)
    return tensors, json.dumps(tree, allow_nan=False).encode()


def decode_state(tensors: Mapping[str, Tensor], rest: bytes) -> Any:
    """What `encode_state` was given. Tensors come back on the CPU."""
    return _decode(json.loads(rest), tensors)


def decode_entry(rest: bytes, key: str) -> Any:
    """One entry of a state that holds no tensors, from its JSON alone."""
    return _decode(json.loads(rest)[key], {})


def _encode(value: Any, path: str, tensors: Tensors) -> Any:
    if isinstance(value, Tensor | np.ndarray):
        return _encode_tensor(value, path, tensors)
    if isinstance(value, Mapping):
        return _encode_mapping(value, path, tensors)
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    # The exact types: a numpy scalar or an enum would come back as something else.
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise CheckpointError(
        f"The state holds a {type(value).__name__} at {path or 'its root'}, which has no form on disk. Use "
        f"tensors, arrays, numbers, text, None, and lists, tuples and dicts of them."
    )


def _encode_tensor(value: Any, path: str, tensors: Tensors) -> Any:
    name = path or "/"
    while name in tensors:  # a key may look like a path: {"a": {"b": t}, "a/b": t}
        name += "'"
    if isinstance(value, np.ndarray):
        # Its own copy: from_numpy would alias, and warn about read-only memory.
        tensors[name] = torch.from_numpy(np.array(value, order="C"))
        return {"$array": name}
    # A contiguous clone, because safetensors refuses tensors that share memory.
    tensors[name] = value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
    return {"$tensor": name}


def _encode_mapping(value: Mapping[Any, Any], path: str, tensors: Tensors) -> Any:
    plain = all(type(key) is str and not key.startswith("$") for key in value)
    if plain:
        return {key: _encode(item, f"{path}/{key}", tensors) for key, item in value.items()}
    pairs = [
        [_encode(key, f"{path}/key{index}", tensors), _encode(item, f"{path}/{index}", tensors)]
        for index, (key, item) in enumerate(value.items())
    ]
    return {"$dict": pairs}


def _decode(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((tag, inner),) = tree.items()
        if tag == "$tensor":
            return tensors[inner]
        if tag == "$array":
            return tensors[inner].numpy()
        if tag == "$tuple":
            return tuple(_decode(item, tensors) for item in inner)
        if tag == "$float":
            return float(inner)
        if tag == "$dict":
            return {_decode(key, tensors): _decode(item, tensors) for key, item in inner}
    return {key: _decode(item, tensors) for key, item in tree.items()}
