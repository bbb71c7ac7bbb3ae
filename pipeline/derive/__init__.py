"""Raw reanalysis files to monthly files of checked, derived fields with labels."""
