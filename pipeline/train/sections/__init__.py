"""Sections of the train settings; without torch, so that every job can check them."""
