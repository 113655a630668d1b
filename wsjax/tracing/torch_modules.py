"""A PyTorch module as a JAX function of its parameters.

    module -> torch.export -> core operators -> the same in JAX, one by one

The parameters keep PyTorch's names and shapes; buffers such as running means are among them.
An array of several names has the first.
"""

import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax.tracing.aten import OPERATORS

IGNORED = ("device", "layout", "pin_memory", "memory_format", "non_blocking", "implicit")
REMEDY = "install PyTorch with pip install 'wsjax[torch]'"


def from_torch(module: Any, *inputs: Any) -> tuple[Any, ...]:
    """A PyTorch module as a JAX function, in evaluation mode.

    Args:
        module: a `torch.nn.Module`.
        inputs: examples of its inputs, tensors or arrays; the function takes in these shapes.

    Returns:
        `apply`, the parameters and buffers by PyTorch's names, and the inputs as arrays, so that
        `wsjax.trace(*from_torch(module, *inputs))` traces the module. `apply(params, *inputs)`
        returns what the module does, in its tuples, lists and dicts; None stays None.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: the module cannot be exported, or uses operators that are not supported; all
            are named; or it returns an object of another class, or what is no tensor or number.

        apply, params, x = from_torch(torch.nn.Linear(3, 2), torch.ones(4, 3))
        params["weight"].shape, params["bias"].shape  # (2, 3), (2,)
        apply(params, x)                              # [4, 2], the module's own output
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"a PyTorch module needs PyTorch: {REMEDY}") from error
    tensor = lambda x: x if isinstance(x, torch.Tensor) else torch.as_tensor(np.array(x))
    inputs = tuple(map(tensor, inputs))
    program = _exported(torch, module, inputs)
    signature = program.graph_signature
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    first = _names(module)
    stored = {node: first.get(name, name) for node, name in stored.items()}
    values = {**dict(module.named_buffers()), **program.state_dict}
    params = {name: array(values[name]) for name in stored.values()}
    constants = {
        node: array(program.constants[name])
        for node, name in signature.inputs_to_lifted_tensor_constants.items()
    }
    nodes = [n for n in program.graph.nodes if n.op != "placeholder"]
    given = list(signature.user_inputs)
    specs = zip(nodes[-1].args[0], signature.output_specs, strict=True)
    results = [x for x, spec in specs if spec.kind.name == "USER_OUTPUT"]
    structure = program.call_spec.out_spec
    nested = lambda out: torch.utils._pytree.tree_unflatten(out, structure)
    _returned(type(module).__name__, nested([_kind(x) for x in results]))

    def apply(params: Mapping[str, Any], *inputs: Any) -> Any:
        env = {node: jnp.asarray(x) for node, x in constants.items()}
        env |= {node: jnp.asarray(params[name]) for node, name in stored.items()}
        env |= zip(given, map(jnp.asarray, inputs), strict=True)
        for node in nodes[:-1]:
            env[node.name] = _call(node, env)
        return nested(_value(results, env))

    return apply, params, *map(array, inputs)


def _exported(torch, module, inputs):
    """The module's program of core operators; raises a ValueError as `from_torch`."""
    name = type(module).__name__
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with warnings.catch_warnings():
            # recurrent layers list their weights anew in every call
            warnings.filterwarnings("ignore", "The tensor attributes? ")
            program = torch.export.export(module, inputs)
    except Exception as error:  # of any kind: what a module runs is its author's
        first = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name}: torch.export cannot read it, see torch.export.export(module, inputs): {first}"
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training
    table = torch.export.default_decompositions()
    table.pop(torch.ops.aten.linear.default, None)  # one product for any number of axes
    program = program.run_decompositions(table)
    unknown = sorted(
        {
            str(node.target)
            for node in program.graph.nodes
            if node.op not in ("placeholder", "output") and _operator(node) is None
        }
    )
    if unknown:
        raise ValueError(
            f"{name}: operators that are not supported: {', '.join(unknown)}; write the model in "
            "JAX, or read its weights alone with wsjax.recognize"
        )
    return program


def _returned(name, kinds):
    """Raises a ValueError as `from_torch` if JAX cannot return what a module returns."""
    wrong = sorted({k if isinstance(k, str) else type(k).__name__ for k in jax.tree.leaves(kinds)})
    if wrong := [k for k in wrong if k not in ("Node", "bool", "int", "float")]:
        raise ValueError(
            f"{name}: expected tensors in tuples, lists and dicts, it returns {', '.join(wrong)}; "
            "wrap it in a module that returns the tensors alone"
        )


def _kind(x):
    return None if x is None else type(x).__name__


def _names(module):
    """Every name of a parameter or buffer -> the first of its names; shared ones have several."""
    every = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    first = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in every}


def _operator(node) -> Callable[..., Any] | None:
    """The JAX function of a node, None where there is none."""
    if node.target is operator.getitem:
        return operator.getitem
    packet = str(getattr(node.target, "overloadpacket", ""))
    if packet == "aten._assert_tensor_metadata":
        return lambda *_, **__: None
    return OPERATORS.get(packet) if node.op == "call_function" else None


def _call(node, env):
    """The result of a node, from those before it."""
    settings = {k: _value(v, env) for k, v in node.kwargs.items() if k not in IGNORED}
    function = _operator(node)
    assert function is not None, node  # `_exported` has looked
    return function(*(_value(x, env) for x in node.args), **settings)


def _value(x, env):
    """An argument of a node: a result, a type, a number, or a list of them."""
    if isinstance(x, list | tuple):
        return [_value(item, env) for item in x]
    if str(type(x)) == "<class 'torch.dtype'>":
        return jnp.dtype(str(x).removeprefix("torch."))
    return env[x.name] if type(x).__name__ == "Node" else x


def array(tensor: Any) -> np.ndarray:
    """A tensor as a NumPy array of its own, bfloat16 too."""
    tensor = tensor.detach().cpu().contiguous()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(jnp.bfloat16)
    return np.array(tensor.numpy())
