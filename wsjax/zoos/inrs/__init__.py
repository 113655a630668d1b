"""Zoos of image INRs, and a user's own folder of images as INRs."""
