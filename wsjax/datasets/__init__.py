"""Image data sets: the original files, read as published, and prepared."""
