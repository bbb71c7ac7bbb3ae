"""download: requests to a data centre → checked raw files and a manifest that knows each of them."""
