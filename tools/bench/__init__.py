"""What this project costs against plain baselines: each bench is a module, and `python -m tools.bench` runs those of
speed."""
