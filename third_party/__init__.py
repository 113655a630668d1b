"""Published model zoos: where each comes from, and readers that make it a `Zoo`.

Nothing is read yet; `README.md` in this folder is the list of what is to come.
"""
