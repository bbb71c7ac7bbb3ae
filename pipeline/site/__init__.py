"""The page of all results: run folders in, static files that open without a server out; jinja2 is used here only."""
