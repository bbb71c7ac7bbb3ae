"""Sections of the store settings for images and series; without numpy, so that every job can check them."""
