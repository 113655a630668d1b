"""Faults injected into the library: damaged and hostile files, kills, extreme numbers."""
