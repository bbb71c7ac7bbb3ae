"""Isobar: from reanalysis fields to honest weather-pattern classifiers, one package per stage."""

__version__ = "0.1.0"
