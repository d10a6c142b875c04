"""What this project costs against plain baselines: each bench is a module, `python -m tools.bench` runs them all."""
