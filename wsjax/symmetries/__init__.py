"""Symmetries of weight space: permutations, signs and scales, and what follows from them.

permutations, scalings      sample, act, compose, invert
signals                     which signals of a Spec can be scaled
matching                    align the hidden neurons of two networks
widening, coordinates       other networks of the same function
augmentations               copies of networks inside a jitted step
automorphisms               of computation graphs
audit                       which symmetries an encoder respects, measured
"""
