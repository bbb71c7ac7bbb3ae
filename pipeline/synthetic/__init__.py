"""An invented weather: ``plan`` (which patterns on which day), ``fields`` (physics), ``files`` (layouts of the CDS)."""
