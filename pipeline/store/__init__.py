"""Derived files to standardised arrays, targets, splits and their scale."""
