"""Parts of the lab program (lab/lab)."""
