"""Sine zoos: small SIRENs, each fitted to one wave."""
