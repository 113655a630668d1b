"""Zoos of image classifiers: recipes, families and the factory that trains them."""
