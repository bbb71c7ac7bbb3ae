"""Parts of the settings of the tune stage."""
