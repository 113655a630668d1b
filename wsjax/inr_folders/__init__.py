"""Image INRs from elsewhere, given to a classifier or an editor of ours.

    net.0.linear.weight [32, 2]              Dense_0/kernel [2, 32]
    sin(30 (W x + b)), x on [0, 1]   ---->   sin(30 (W x + b)), x on [-1, 1]    --> class
    images on [-1, 1]                        images on [0, 1], output + 0.5     --> edited weights

    classes = classify("sirens", "mnist-inr-classes", theirs=Convention(indexing="ij", offset=0))
    edited = edit(["sirens/a.pth"], "mnist-inr-dilation")

Weights do not hold the convention they were fitted by: `conventions` states it and converts,
exactly. What remains is checked: `domains` compares the sizes of arrays, and the pixels, with
those of training.
"""

from wsjax.inr_folders.conventions import Convention, convert
from wsjax.inr_folders.domains import Domain, domain
from wsjax.inr_folders.folders import Classes, Edited, classify, edit
from wsjax.inr_folders.sheets import sheet

__all__ = [
    "Classes",
    "Convention",
    "Domain",
    "Edited",
    "classify",
    "convert",
    "domain",
    "edit",
    "sheet",
]
