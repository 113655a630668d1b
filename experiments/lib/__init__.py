"""The experiments share this: methods, presets, runs, records and tables."""
