"""Names of arrays: wrappers taken off, numbers in their natural order, shards as one network.

    module._orig_mod.features.0.weight      features.0.weight
    features.module.0.weight                features.0.weight
    net.0, net.1, net.10, net.2             net.0, net.1, net.2, net.10
    shard 1: layers.0, .1  shard 2: layers.0, .1      layers.0, .1, .2, .3

A name is text; its words are what lies between its dots and slashes. A wrapper's word goes only
where names stay different, so that no array can take the place of another.
"""

import itertools
import re
from collections.abc import Iterable, Sequence

ANYWHERE = (  # data parallelism and compilation put these around any module
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
    "_forward_module",
)
WRAPPERS = (  # attributes in which training frameworks keep the network; where all names agree
    *("model", "base_model", "ema_model", "online_model", "wrapped_model", "network", "ema"),
    *("model_ema", "module_ema", "averaged_model", "teacher", "student", "params", "state_dict"),
)
ENDS = ("/value", "/raw_value", ".value", ":0")  # variables of Flax NNX and TensorFlow
_ROUNDS = 16  # wrappers around each other
_WORDS = 64  # of a name; the rest of a longer one counts as one word
_SHARD = re.compile(
    r".*\d+[-_]of[-_]\d+.*|.*\.(safetensors|pth?|ckpt|bin|npz|msgpack)|(mp_)?rank_?\d+.*"
)


def words(name: str) -> list[str]:
    """The parts of a name between its dots and slashes."""
    return re.split("[./]", name, maxsplit=_WORDS - 1)


def unwrapped(
    names: Sequence[str], votes: Sequence[bool] | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Names without the words of wrappers, in whatever order these lie around each other.

    Args:
        names: all of one network, different from each other.
        votes: whether a name counts where all must agree; a counter beside the network, such
            as `n_averaged`, does not. All count by default.

    Returns:
        The new names in the same order, all different, and the words that were taken off.

    >>> unwrapped(["module._orig_mod.fc.weight", "module._orig_mod.fc.bias"])
    (['fc.weight', 'fc.bias'], ('module', '_orig_mod'))
    >>> unwrapped(["model.fc.weight", "lm_head.weight"])
    (['model.fc.weight', 'lm_head.weight'], ())
    """
    votes = [True] * len(names) if votes is None else list(votes)
    votes = votes if any(votes) else [True] * len(names)
    now, taken = list(names), dict.fromkeys("")
    for _ in range(_ROUNDS):
        before = now
        for word in ANYWHERE:
            new = [_without(n, word) for n in now]
            if new != now and len(set(new)) == len(new):
                now, taken = new, taken | {word: None}
        heads = {words(n)[0] for n, vote in zip(now, votes, strict=True) if vote}
        if len(heads) == 1 and (head := heads.pop()) in (*ANYWHERE, *WRAPPERS):
            new = [n[len(head) + 1 :] if _begins(n, head) else n for n in now]
            if len(set(new)) == len(new):
                now, taken = new, taken | {head: None}
        if now == before:
            break
    for end in ENDS:
        if all(
            len(n) > len(end) and n.endswith(end)
            for n, vote in zip(now, votes, strict=True)
            if vote
        ):
            new = [n.removesuffix(end) for n in now]
            if "" not in new and len(set(new)) == len(new):
                now, taken = new, taken | {end: None}
    return now, tuple(taken)


def _begins(name, head):
    return name.startswith((f"{head}.", f"{head}/")) and len(name) > len(head) + 1


def _without(name, word):
    """The name without a word wherever it is not the last."""
    if word not in name:
        return name
    return re.sub(rf"(?<![^./]){word}[./](?=.)", "", name)


def natural(names: Sequence[str]) -> list[int]:
    """Positions of names such that layer 10 comes after layer 9.

    Where numbers rise in the given order already it is kept, as it is often that of computation.
    Elsewhere names that begin with the same words come together, in the order of the first of
    them, and those that differ by a number in the order of the numbers.

    >>> names = ["stem", "net.0", "net.10", "net.2", "head"]
    >>> [names[i] for i in natural(names)]
    ['stem', 'net.0', 'net.2', 'net.10', 'head']
    """
    tree, out, moved = _tree(names), [], False
    stack: list = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            out += node
            continue
        keys = _rising(node)
        moved |= keys != list(node)
        stack += [node[k] for k in reversed(keys)]
    return out if moved else list(range(len(names)))


def _tree(names):
    """Nested dicts by word, in the order of the first name; under None the positions."""
    tree: dict = {}
    for i, name in enumerate(names):
        node = tree
        for word in words(name):
            node = node.setdefault(word, {})
        node.setdefault(None, []).append(i)
    return tree


def _number(word):
    """("Dense_", 10) of "Dense_10", ("10", None) of other words."""
    stem = (word or "").rstrip("0123456789")
    digits = (word or "")[len(stem) :]
    return (stem, int(digits)) if 0 < len(digits) < 10 else (word, None)


def _rising(node):
    """A node's keys, those of one stem in the order of their numbers, each in a place of theirs."""
    places: dict = {}
    for place, word in enumerate(node):
        stem, number = _number(word)
        if number is not None:
            places.setdefault(stem, []).append((place, number, word))
    keys = list(node)
    for members in places.values():
        for (place, _, _), (_, _, word) in zip(
            members, sorted(members, key=lambda m: m[1]), strict=True
        ):
            keys[place] = word
    return keys


def contradictions(names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Sentences about layers whose shapes fit in the file's order but not in that of numbers.

    >>> names = ["0.weight", "10.weight", "2.weight"]
    >>> contradictions(names, [(8, 2), (16, 8), (4, 16)])
    ['layers 0, 10, 2 fit each other by shape in this order of the file, not by number']
    >>> contradictions(names, [(8, 2), (4, 16), (16, 8)])
    []
    """
    out, stack = [], [((), _tree(names))]
    while stack:
        prefix, node = stack.pop()
        if isinstance(node, list):
            continue
        stack += [((*prefix, word), child) for word, child in node.items()]
        rising = _rising(node)
        if rising == list(node):
            continue
        stems = dict.fromkeys(_number(w)[0] for w in node if _number(w)[1] is not None)
        for stem in stems:
            numbered = lambda k, stem=stem: _number(k)[0] == stem and _number(k)[1] is not None
            theirs, ours = list(filter(numbered, node)), list(filter(numbered, rising))
            if theirs != ours and _fits(theirs, node, shapes) and not _fits(ours, node, shapes):
                layers = ", ".join(".".join((*prefix, w)) for w in theirs[:12])
                more = ", ..." if len(theirs) > 12 else ""
                out.append(
                    f"layers {layers}{more} fit each other by shape in this order of the file, "
                    "not by number"
                )
    return out


def _fits(keys, node, shapes):
    """Whether each layer reads as many as the one before writes, by one kernel of each."""
    kernels = [list(_kernels(node[k], shapes)) for k in keys]
    if any(len(k) != 1 for k in kernels):
        return False
    flat = [k[0] for k in kernels]
    pairs = list(itertools.pairwise(flat))
    return all(a[0] == b[1] for a, b in pairs) or all(a[-1] == b[-2] for a, b in pairs)


def _kernels(node, shapes):
    """Shapes of two axes or more below a node."""
    stack = [node]
    while stack:
        below = stack.pop()
        if isinstance(below, list):
            yield from (shapes[i] for i in below if len(shapes[i]) > 1)
        else:
            stack += below.values()


def shard(key: str) -> bool:
    """Whether a key of a file's tree is the name of a shard.

    >>> shard("model-00001-of-00003.safetensors"), shard("features")
    (True, False)
    """
    return _SHARD.fullmatch(key[:255]) is not None


def joined(shards: Sequence[Sequence[str]]) -> tuple[list[list[str]], tuple[str, ...]]:
    """Names of shards whose layer numbers begin anew in each, numbered through.

    The number of a name's first numbered word is raised by the numbers of the shards before, if
    names come twice and all that do are numbered. Where others do too, as in slices of one
    network for several devices, no name is changed.

    Returns:
        The new names, shard by shard, and the stems that were numbered through.

    >>> joined([["emb", "h.0.w", "h.1.w"], ["h.0.w", "h.1.w", "head"]])
    ([['emb', 'h.0.w', 'h.1.w'], ['h.2.w', 'h.3.w', 'head']], ('h.',))
    """
    again = _repeated(n for names in shards for n in names)
    stems = [_layer(n) for n in again]
    if None in stems:
        return [list(names) for names in shards], ()
    offsets, out = dict.fromkeys((s[0] for s in stems if s), 0), []
    for names in shards:
        layers, new, most = [_layer(n) for n in names], [], dict(offsets)
        for name, layer in zip(names, layers, strict=True):
            if layer is None or layer[0] not in offsets:
                new.append(name)
                continue
            stem, number, rest = layer
            new.append(f"{stem}{number + offsets[stem]}{rest}")
            most[stem] = max(most[stem], number + offsets[stem] + 1)
        out.append(new)
        offsets = most
    return out, tuple(dict.fromkeys(s[0] for s in stems if s))


def _repeated(names: Iterable[str]):
    once, twice = set(), {}
    for n in names:
        if n in once:
            twice[n] = None
        once.add(n)
    return list(twice)


def _layer(name):
    """("layers.", 3, ".weight"): a name around its first number between dots."""
    match = re.match(r"((?:.*?[./])?(?:[A-Za-z_]*_)?)(\d{1,9})(?=[./])", name[:1000])
    return (match[1], int(match[2]), name[match.end() :]) if match else None
