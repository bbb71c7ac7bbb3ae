"""A finished run and new files in; probabilities and labels out."""
