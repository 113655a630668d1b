"""Symmetries of weight space: permutations, signs and scales, and what follows from them.

permutations, scalings      sample, act, compose, invert
signals                     the factors of the signals of a Spec
matching                    permutations that align two networks
widening                    wider networks of the same function
coordinates                 INRs of moved images
augmentations               random changes of networks inside a jitted step
audit                       which symmetries an encoder respects, measured
"""
