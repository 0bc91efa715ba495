"""The stages of a request: functions from values to values."""
