"""What a finished run looked at: attributions over its inputs, and what its features and channels are worth."""
