"""Predictors of a label of networks, such as their accuracy, with intervals and a domain."""
