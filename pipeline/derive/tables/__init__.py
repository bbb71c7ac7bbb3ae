"""The derived fields by theme, as tables of recipes; :mod:`pipeline.derive.recipe` joins them."""
