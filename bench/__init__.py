"""What a call costs, beside direct execution of the same delegates in the same run."""
