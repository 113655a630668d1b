"""Views: index maps of an architecture for encoders, derived once from its `Spec`, in NumPy."""
