"""Folders of images and numeric series to uint8 pixels, standardised windows, targets and splits."""
