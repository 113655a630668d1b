"""The axes of a primitive's results, from those of its operands.

    add, exp, select, ...     axes that are aligned are the same neurons
    dot_general               so are contracted and batched axes; the others pass
    reshape                   regroups; a convolution's channels pass, its positions are fixed
    concatenate, split, pad   direct sums
    scan, while, cond         their bodies, with carried values tied
    any other                 fixes all it touches, and leaves a note

A rule may fix too much, never too little: an axis may stay free only if every permutation of its
neurons commutes with the primitive. What mixes the positions of an axis (a convolution, a cumulated
sum, a shift) has the neurons beside them share one order: `MIXING`.
"""

from wsjax.tracing.axes import indexing
from wsjax.tracing.axes.atoms import Axis, atom, expand, fix, fixed, kept, leaves, size
from wsjax.tracing.axes.interpreter import Interpreter, Value, fresh
from wsjax.tracing.loops import scan_counts

ELEMENTWISE = frozenset(
    [
        *("abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2"),
        *("atanh", "bessel_i0e", "bessel_i1e", "cbrt", "ceil", "clamp", "clz", "conj"),
        *("convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq"),
        *("eq_to", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt"),
        *("igamma", "igammac", "imag", "integer_pow", "is_finite", "le", "le_to", "lgamma"),
        *("log", "log1p", "logistic", "lt", "lt_to", "max", "min", "mul", "mul_add", "ne"),
        *("name", "neg", "nextafter", "not", "or", "polygamma"),
        *("population_count", "pow", "real", "complex", "reduce_precision", "rem", "reshard"),
        *("round", "rsqrt", "select_n", "sharding_constraint", "shift_left"),
        *("shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt"),
        *("square", "stop_gradient", "sub", "tan", "tanh", "xor", "zeta"),
    ]
)
CALLS = frozenset(
    [
        *("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"),
        *(
            "custom_vjp_call_jaxpr",
            "remat",
            "remat2",
            "checkpoint",
            "custom_vmap_call",
            "custom_lin",
            "xla_call",
        ),
    ]
)
REDUCTIONS = frozenset(
    [
        *("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"),
        *("reduce_xor", "argmax", "argmin"),
    ]
)
ALONG = {  # keep the shape, and mix along these axes
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), "axis"),
    "rev": "dimensions",
}
MIXING = frozenset(  # combine positions of axes that keep their places
    [
        *ALONG,
        *("sort", "top_k", "fft", "conv_general_dilated", "pad", "concatenate", "gather"),
        *("dynamic_slice", "dynamic_update_slice", "scatter", "scatter_add", "scatter-add"),
        *("scatter_mul", "scatter_max", "scatter_min", "argmax", "argmin"),
    ]
)
RANDOM = ("random_", "threefry", "rng_")
WINDOWS = ("reduce_window", "select_and")


def apply(walk: Interpreter, eqn, ins: list[Value]) -> list[Value]:
    """The results of one equation, by the rule of its primitive."""
    name = eqn.primitive.name
    outs = _rule(name)(walk, eqn, ins) if eqn.outvars else []
    if name in MIXING or name.startswith(WINDOWS):
        for value in (*ins, *outs):
            walk.together([a for a in value.axes if not fixed(a)])
    return outs


def _rule(name):
    if name in ELEMENTWISE:
        return _elementwise
    if name in CALLS:
        return _call
    if name in REDUCTIONS:
        return _reduce
    if name in ALONG:
        return _along
    if name.startswith(WINDOWS):
        return _window
    return _random if name.startswith(RANDOM) else _RULES.get(name, _unknown)


def _random(walk, eqn, ins):
    for x in ins:
        for a in x.axes:
            fix(a, "random")
    return [fresh(v.aval.shape, "random") for v in eqn.outvars]


def _each(walk, eqn, ins):
    return [Value(x.axes) for x in ins]


def _unknown(walk, eqn, ins):
    name = eqn.primitive.name
    if not all(fixed(a) for x in ins for a in x.axes):
        walk.notes[f"no rule for {name}: the axes it touches are fixed"] = None
    for x in ins:
        for a in x.axes:
            fix(a, name)
    return [fresh(v.aval.shape, name) for v in eqn.outvars]


def _elementwise(walk, eqn, ins):
    shape = eqn.outvars[0].aval.shape
    out: list[Axis] = [[] for _ in shape]
    for x in ins:
        if len(x.axes) != len(shape):
            continue  # one number for all
        for i, a in enumerate(x.axes):
            if size(a) != shape[i]:
                continue  # broadcast
            if out[i]:
                walk.unify(out[i], a, eqn.primitive.name)
            out[i] = out[i] or a
    out = [a or atom(n) for a, n in zip(out, shape, strict=True)]
    return [Value(out) for _ in eqn.outvars]


def _call(walk, eqn, ins):
    inner = next(
        eqn.params[k]
        for k in ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
        if eqn.params.get(k) is not None
    )
    closed = hasattr(inner, "consts")
    return walk.run(inner.jaxpr if closed else inner, inner.consts if closed else (), ins)


def _broadcast(walk, eqn, ins):
    shape = eqn.outvars[0].aval.shape
    out = fresh(shape).axes
    for n, a, i in zip(
        eqn.invars[0].aval.shape, ins[0].axes, eqn.params["broadcast_dimensions"], strict=True
    ):
        if n == shape[i]:
            out[i] = a
    return [Value(out)]


def _transpose(walk, eqn, ins):
    return [Value([ins[0].axes[i] for i in eqn.params["permutation"]])]


def _squeeze(walk, eqn, ins):
    return [Value([a for i, a in enumerate(ins[0].axes) if i not in eqn.params["dimensions"]])]


def _expand_dims(walk, eqn, ins):
    out = list(ins[0].axes)
    for i in sorted(eqn.params["dimensions"]):
        out.insert(i, [])
    return [Value(out)]


def _reshape(walk, eqn, ins):
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    if eqn.params.get("dimensions") is not None or 0 in before:
        return _unknown(walk, eqn, ins)
    out, i, j = [], 0, 0
    while i < len(before) or j < len(after):  # the shortest runs of axes of equal size
        m, n, first, last = 1, 1, i, j
        while (i == first or j == last or m != n) and (i < len(before) or j < len(after)):
            if (m <= n or j == len(after)) and i < len(before):
                m, i = m * before[i], i + 1
            else:
                n, j = n * after[j], j + 1
        run = kept(x for a in ins[0].axes[first:i] for x in a)
        while run and run[-1].size == 1 and j < len(after) and after[j] == 1:
            j += 1  # groups of one
        new = [run] if j - last == 1 else walk.atoms.regroup(run, after[last:j], "a reshape")
        if not {n for a in new for n in leaves(a)} <= set(leaves(run)):  # sizes that do not fit
            walk.together([a for a in (*ins[0].axes, *out) if not fixed(a)])
        out += new
    return [Value(out)]


def _tile(walk, eqn, ins):
    out = []
    for a, times in zip(ins[0].axes, eqn.params["reps"], strict=True):
        out.append(a if times == 1 else [*atom(times), *expand(a)])
    return [Value(out)]


def _reduce(walk, eqn, ins):
    axes, name = eqn.params["axes"], eqn.primitive.name
    if name.startswith("arg"):
        for i in axes:
            fix(ins[0].axes[i], name)
    keep = [a for i, a in enumerate(ins[0].axes) if i not in axes]
    return [Value(keep) for _ in eqn.outvars]


def _along(walk, eqn, ins):
    name = eqn.primitive.name
    axes = eqn.params[ALONG[name]]
    for i in (axes,) if isinstance(axes, int) else axes:
        for x in ins:
            fix(x.axes[i], name)
    return _elementwise(walk, eqn, ins) if len(ins) > 1 else [Value(ins[0].axes)]


def _sort(walk, eqn, ins):
    """Sorted neurons have places of their own, whatever the order they came in."""
    along, (value, *_) = eqn.params["dimension"], _elementwise(walk, eqn, ins)
    axes = list(value.axes)
    if len(ins) > 1:
        fix(axes[along], "sort")  # equal keys keep the order they came in
    axes[along] = atom(eqn.outvars[0].aval.shape[along], "sort")
    return [Value(axes) for _ in eqn.outvars]


def _iota(walk, eqn, ins):
    shape, along = eqn.outvars[0].aval.shape, eqn.params["dimension"]
    return [Value([atom(n, "iota" if i == along else None) for i, n in enumerate(shape)])]


def _dot(walk, eqn, ins):
    (lc, rc), (lb, rb) = eqn.params["dimension_numbers"]
    left, right = (x.axes for x in ins[:2])
    for i, j in [*zip(lc, rc, strict=True), *zip(lb, rb, strict=True)]:
        walk.unify(left[i], right[j], "a product")
    rest = [a for j, a in enumerate(right) if j not in (*rb, *rc)]
    walk.together([*left, *rest])
    free = [a for i, a in enumerate(left) if i not in (*lb, *lc)]
    return [Value([*(left[i] for i in lb), *free, *rest])]


def _conv(walk, eqn, ins):
    spec, groups = eqn.params["dimension_numbers"], eqn.params["feature_group_count"]
    lhs, rhs, to = spec.lhs_spec, spec.rhs_spec, spec.out_spec
    if eqn.params.get("batch_group_count", 1) != 1:
        return _unknown(walk, eqn, ins)
    image, kernel = ins[0].axes, ins[1].axes
    out = fresh(eqn.outvars[0].aval.shape).axes
    out[to[0]] = image[lhs[0]]
    windows = [*(image[i] for i in lhs[2:]), *(out[i] for i in to[2:])]
    for a in windows:
        fix(a, "a window")
    for i in rhs[2:]:
        fix(kernel[i], "a window")
    inside, outside = image[lhs[1]], kernel[rhs[0]]
    if groups == 1:
        walk.unify(inside, kernel[rhs[1]], "a convolution")
        out[to[1]] = outside
        walk.together([*image, outside])
        return [Value(out)]
    members = size(inside) // groups, size(outside) // groups
    group, within = walk.atoms.regroup(inside, (groups, members[0]), "grouped channels")
    other, channels = walk.atoms.regroup(outside, (groups, members[1]), "grouped channels")
    walk.unify(group, other, "grouped channels")
    walk.unify(within, kernel[rhs[1]], "grouped channels")
    out[to[1]] = expand([*other, *channels])
    walk.together([image[lhs[0]], group, within, channels])
    return [Value(out)]


def _window(walk, eqn, ins):
    shape = eqn.outvars[0].aval.shape
    if len(eqn.outvars) != 1 or len(ins[0].axes) != len(shape):
        return _unknown(walk, eqn, ins)
    p, one = eqn.params, (1,) * len(shape)
    window, strides = p.get("window_dimensions", shape), p.get("window_strides") or one
    padding = p.get("padding") or ((0, 0),) * len(shape)
    still = [(window[i], strides[i], *padding[i]) == (1, 1, 0, 0) for i in range(len(shape))]
    out = fresh(shape).axes
    for x, v in zip(ins, eqn.invars, strict=True):
        for i, a in enumerate(x.axes if len(x.axes) == len(shape) else ()):
            if still[i] and v.aval.shape[i] == shape[i]:
                walk.unify(out[i], a, "a pool")
            else:
                fix(a, "a pool")
                fix(out[i], "a pool")
    return [Value(out)]


def _concatenate(walk, eqn, ins):
    along, out = eqn.params["dimension"], list(ins[0].axes)
    for x in ins[1:]:
        for i, a in enumerate(x.axes):
            if i != along:
                walk.unify(out[i], a, "a concatenation")
    out[along] = walk.atoms.sum([x.axes[along] for x in ins])
    return [Value(out)]


def _stack(walk, eqn, ins):
    out = list(ins[0].axes)
    for x in ins[1:]:
        for a, b in zip(out, x.axes, strict=True):
            walk.unify(a, b, "a stack")
    out.insert(eqn.params["axis"], atom(len(ins), "a stack"))
    return [Value(out)]


def _unstack(walk, eqn, ins):
    along, n = eqn.params["axis"], len(eqn.outvars)
    parts = (indexing.part(walk, ins[0], along, i, i + 1, n) for i in range(n))
    return [Value([a for i, a in enumerate(x.axes) if i != along]) for x in parts]


def _pad(walk, eqn, ins):
    out = []
    for a, (low, high, inside), n in zip(
        ins[0].axes, eqn.params["padding_config"], eqn.outvars[0].aval.shape, strict=True
    ):
        if (low, high, inside) == (0, 0, 0):
            out.append(a)
        elif inside or min(low, high) < 0:
            fix(a, "a pad")
            out.append(atom(n, "a pad"))
        else:
            parts = [*([atom(low)] if low else []), a, *([atom(high)] if high else [])]
            out.append(walk.atoms.sum(parts))
    return [Value(out)]


def _fft(walk, eqn, ins):
    n, axes = len(eqn.params["fft_lengths"]), list(ins[0].axes)
    for i in range(len(axes) - n, len(axes)):
        fix(axes[i], "fft")
        axes[i] = atom(eqn.outvars[0].aval.shape[i], "fft")
    return [Value(axes)]


def _scan(walk, eqn, ins):
    p = eqn.params
    (nc, nk), body = scan_counts(p), p["jaxpr"]
    consts, carry, xs = ins[:nc], ins[nc : nc + nk], ins[nc + nk :]
    steps = next((x.axes[0] for x in xs), None) or atom(p["length"])
    for x in xs:
        walk.unify(steps, x.axes[0], "a scan")
    fix(steps, "a scan")
    for value in ins:
        walk.together(value.axes)
    around, walk.around = walk.around, (*walk.around, *expand(steps))
    inside = [Value(x.axes[1:]) for x in xs]
    outs = walk.run(
        body.jaxpr,
        body.consts,
        [*map(_unknown_numbers, consts), *map(_unknown_numbers, carry), *inside],
    )
    walk.around = around
    _tie(walk, outs[:nk], carry)
    return [*map(_unknown_numbers, outs[:nk]), *(Value([steps, *y.axes]) for y in outs[nk:])]


def _while(walk, eqn, ins):
    p = eqn.params
    nc, nb = p["cond_nconsts"], p["body_nconsts"]
    carry = [_unknown_numbers(x) for x in ins[nc + nb :]]
    test, body = p["cond_jaxpr"], p["body_jaxpr"]
    walk.run(test.jaxpr, test.consts, [*ins[:nc], *carry])
    outs = walk.run(body.jaxpr, body.consts, [*ins[nc : nc + nb], *carry])
    _tie(walk, outs, carry)
    return [_unknown_numbers(x) for x in outs]


def _cond(walk, eqn, ins):
    first, *others = [walk.run(b.jaxpr, b.consts, ins[1:]) for b in eqn.params["branches"]]
    for outs in others:
        _tie(walk, outs, first)
    return [_unknown_numbers(x) for x in first]


def _tie(walk, one, two):
    for x, y in zip(one, two, strict=True):
        for a, b in zip(x.axes, y.axes, strict=True):
            walk.unify(a, b, "a loop")


def _unknown_numbers(value):
    """A value whose numbers another pass of a loop may change."""
    return Value(value.axes)


_RULES = {
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "expand_dims": _expand_dims,
    "reshape": _reshape,
    "optimization_barrier": _each,
    "tile": _tile,
    "iota": _iota,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    "pad": _pad,
    "slice": indexing.slice,
    "sort": _sort,
    "split": indexing.split,
    "dynamic_slice": indexing.dynamic_slice,
    "dynamic_update_slice": indexing.dynamic_update_slice,
    "gather": indexing.gather,
    "top_k": indexing.top_k,
    "fft": _fft,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    **dict.fromkeys(
        ("scatter", "scatter_add", "scatter-add", "scatter_mul", "scatter_max", "scatter_min"),
        indexing.scatter,
    ),
}
