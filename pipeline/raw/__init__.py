"""Raw files of reanalyses, whoever made them: what is in a file, and reading it in one canonical form.

Not a stage but a room that download (to check), derive (to read) and predict share.
"""
