"""ONNX models: initialisers, and the tensors of Constant nodes.

    ModelProto.graph (7)         initializer (5): TensorProto, ...
                                 node (1): op_type "Constant", attribute "value": TensorProto

The protocol buffer is walked here. The `onnx` package reads a model into memory whole, and reads
files beside it wherever the model says they are; this takes names and shapes only, and such files
only from the model's own folder.
"""

import numpy as np

from wsjax.files.checkpoint import Checkpoint, FileFormatError, Finding, Limits, Stored
from wsjax.files.disk import BytesOf, Cursor
from wsjax.files.onnx_tensors import Tensors, parsed, whole
from wsjax.files.protobuf import Budget, fields, message, signed

GRAPHS = 20  # within each other, as of If within Loop
SECOND = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2)  # keys of ModelProto's fields
VALUES = {  # attribute of a Constant -> its field, whether it is a list, and its type
    **{"value_float": (2, False, "float32"), "value_floats": (7, True, "float32")},
    **{"value_int": (3, False, "int64"), "value_ints": (8, True, "int64")},
}


def begins(start: bytes) -> bool:
    """Whether a file can be a model: its version comes first, then one of its next fields."""
    return len(start) > 2 and start[0] == 0x08 and 0 < start[1] < 0x80 and start[2] in SECOND


def read(file: BytesOf, limits: Limits) -> Checkpoint:
    """The arrays of a model; its nodes are in the metadata, as [operator, inputs, outputs].

    Raises:
        FileFormatError: it is damaged, or no model.
    """
    walk = _Walk(file, limits)
    metadata, graphs = {}, 0
    for number, value in fields(Cursor(file), walk.budget):
        match number:
            case 1:
                metadata["ir_version"] = signed(value)
            case 2:
                metadata["producer"] = walk.budget.text(value)
            case 7:
                graphs += 1
                walk.graph(message(value), (), 0)
            case 25:
                walk.function(message(value))
    if graphs != 1:
        raise FileFormatError(f"expected an ONNX model with one graph, found {graphs}")
    metadata["nodes"] = walk.nodes
    findings = (*walk.findings, *walk.tensors.findings())
    return Checkpoint(str(file.path), "onnx", tuple(walk.arrays), metadata, findings)


class _Walk:
    """Goes through graphs, and collects arrays by path."""

    def __init__(self, file, limits):
        self.file, self.budget, self.tensors = file, Budget(limits), Tensors(file, limits)
        self.arrays, self.nodes, self.findings = [], [], []

    def graph(self, cursor, path, depth):
        if depth > GRAPHS:
            raise FileFormatError(f"expected graphs at most {GRAPHS} deep in each other")
        for number, value in fields(cursor, self.budget):
            match number:
                case 1:
                    self.node(message(value), path, depth)
                case 5:
                    tensor = parsed(message(value), self.budget)
                    self.arrays.append(self.tensors.stored((*path, tensor.name), tensor))
                case 15:
                    text = "a sparse initialiser is not read: save the model with dense ones"
                    self.findings.append(Finding("refused", "warning", None, text))

    def function(self, cursor):
        name, nodes = "", []
        for number, value in fields(cursor, self.budget):
            if number == 1:
                name = self.budget.text(value)
            elif number == 7:
                nodes.append(message(value))
        for node in nodes:
            self.node(node, (name,), 0)

    def node(self, cursor, path, depth):
        inputs, outputs, name, operator, attributes = [], [], "", "", []
        for number, value in fields(cursor, self.budget):
            match number:
                case 1:
                    inputs.append(self.budget.text(value))
                case 2:
                    outputs.append(self.budget.text(value))
                case 3:
                    name = self.budget.text(value)
                case 4:
                    operator = self.budget.text(value)
                case 5:
                    attributes.append(message(value))
        output = (outputs or [""])[0]
        if not path:
            self.nodes.append([operator, inputs, outputs])
        for attribute in attributes:
            key, graphs, values = self.attribute(attribute)
            for i, graph in enumerate(graphs):
                inside = (*path, name or output or operator, f"{key}{i or ''}")
                self.graph(graph, inside, depth + 1)
            if operator == "Constant":
                self.constant((*path, output), key, values)

    def attribute(self, cursor):
        """Its name, its graphs, and its other values by field."""
        name, graphs, values = "", [], {}
        for number, value in fields(cursor, self.budget):
            match number:
                case 1:
                    name = self.budget.text(value)
                case 2 | 7:
                    numbers = self.budget.raw(value)
                    if len(numbers) % 4:
                        raise FileFormatError("expected floats of four bytes each")
                    values.setdefault(number, []).extend(np.frombuffer(numbers, "<f4").tolist())
                case 3 | 8:
                    values.setdefault(number, []).extend(whole(value, self.budget))
                case 5:
                    values[number] = message(value)
                case 6 | 11:
                    graphs.append(message(value))
        return name, graphs, values

    def constant(self, path, key, values):
        if key == "value" and 5 in values:
            self.arrays.append(self.tensors.stored(path, parsed(values[5], self.budget)))
        elif key in VALUES:
            field, is_list, dtype = VALUES[key]
            array = np.array(values.get(field, []), dtype)
            if not is_list and len(array) != 1:
                raise FileFormatError(f"expected one number of Constant {path[-1]!r:.200}")
            array = array if is_list else array[0]
            storage = (*self.file.identity, path)
            self.arrays.append(
                Stored(path, array.shape, dtype, storage, array.nbytes, lambda: np.asarray(array))
            )
        elif key == "sparse_value":
            text = f"Constant {path[-1]!r:.200} is sparse and not read"
            self.findings.append(Finding("refused", "warning", None, text))
