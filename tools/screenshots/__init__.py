"""Pictures for the documentation, made of real runs: ``./dev screenshots [NAME...]``.

A module of ``subjects`` is a subject: its ``take(studio)`` takes the pictures.  Terminals become
SVG, pages become PNG, each in a light and in a dark form.  A picture of a terminal in which only
numbers have changed, such as a time or a MAC, stays as it is: a run does not change all files.
"""
