"""The arrays of a pickle that holds other things too, which are refused by name.

    {"model": {...}, "args": argparse.Namespace(lr=.1), "schedule": lambda_of_a_module}
      arrays: read      "args", "schedule": `Refused`, and nothing of them is looked for or run

`pickles.rebuild` raises at the first name that it does not know, as suits files whose contents
are known. A checkpoint from elsewhere has settings, schedules and metrics beside its arrays:
here each becomes a token that swallows whatever the pickle does to it.
"""

import pickle
from typing import Any, ClassVar

from wsjax.files import pickles
from wsjax.files.checkpoint import FileFormatError
from wsjax.files.pickles import Name
from wsjax.files.storages import STORAGES, Numbers, Source

KEYS = "a dict's entry whose key is neither a text nor a whole number"


class Refused:
    """An object or function that is not rebuilt; of its contents nothing is kept.

    Attributes:
        name: full name of its class or of the function that was to make it; or the reason.
    """

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name


def rebuild(program: bytes, source: Source) -> tuple[Any, int, int]:
    """Rebuilds a pickle as dicts, lists, tuples, numbers, strings, `Numbers` and `Refused`.

    Returns:
        The object, the number of tensors that the pickle makes, and of dict entries that were
        dropped, see `KEYS`.

    Raises:
        FileFormatError: the pickle is damaged, or has instructions that `torch.save` never writes.
    """
    reader = _Salvager(program, source, ())
    return pickles.loaded(reader), reader.tensors, reader.dropped


class _Salvager(pickles.Reader):
    tensors = dropped = 0

    def find_class(self, module, name):
        return Name(f"{module}.{name}")

    def persistent_load(self, pid):
        kind = pid[1] if type(pid) is tuple and len(pid) == 5 else None
        if type(kind) is Name and kind.full not in STORAGES:
            return Refused(kind.full)
        return super().persistent_load(pid)

    def load_reduce(self):
        args, target = self.stack.pop(), self.stack[-1]
        builder = pickles.BUILDERS.get(target.full) if type(target) is Name else None
        name = getattr(target, "full", None) or getattr(target, "name", None)
        if name is None or type(args) is not tuple:
            raise FileFormatError(f"its pickle calls {pickles.what(target)}")
        made = Refused(name)
        if builder is not None:
            try:
                made = builder(self, *args)
            except (FileFormatError, TypeError) as error:
                self.spend(0)  # raises again if that was the reason
                reason = [x.name for x in args if type(x) is Refused]
                made = Refused(f"{name} of {reason[0]}" if reason else f"{name}: {error}")
        new = type(made) is Numbers and made.storage is not None
        self.tensors += new and all(made is not x for x in args)  # a parameter is its tensor
        self.stack[-1] = made

    def load_newobj(self):
        self.stack.pop()
        name = self.stack[-1]
        if type(name) is not Name:
            raise FileFormatError(f"its pickle makes a {pickles.what(name)}")
        self.stack[-1] = Refused(name.full)

    def load_build(self):
        target = self.stack[-2]
        if type(target) in (Refused, dict) or (type(target) is Numbers and target.storage):
            self.stack.pop()  # attributes beside a dict's entries or a tensor's numbers
        else:
            try:
                super().load_build()
            except FileFormatError:
                if type(target) is not Numbers:
                    raise  # an array of objects keeps no numbers, and is refused where it is met

    def _set(self, target, items):
        if type(target) is dict:
            pairs = list(zip(items[::2], items[1::2], strict=True))
            kept = [x for k, v in pairs if pickles.is_key(k) for x in (k, v)]
            self.dropped += len(pairs) - len(kept) // 2
            super()._set(target, kept)
        elif type(target) is not Refused:
            super()._set(target, items)

    def load_append(self):
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self):
        self._extend(self.pop_mark())

    def _extend(self, values):
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif type(target) is not Refused:
            raise FileFormatError(f"its pickle appends to {pickles.what(target)}")

    def load_empty_set(self):
        self.append(Refused("builtins.set"))

    def load_additems(self):
        self.pop_mark()

    def load_frozenset(self):
        self.pop_mark()
        self.append(Refused("builtins.frozenset"))

    dispatch: ClassVar[dict[int, Any]] = pickles.Reader.dispatch | {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
    }
