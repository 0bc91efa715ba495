"""Answering clients over HTTP at a bounded cost: for the metrics, and for pages."""
