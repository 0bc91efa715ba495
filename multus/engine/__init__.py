"""The pipeline: parse, resolve, order, invoke, merge, and a method for each CNI verb."""
