"""A store to trained weights and their predictions. The only stage that knows torch."""
