"""Parts of tools/gpu_check.py: `made_data` that needs no files, `real_steps` of every method's student, `whole_runs` of both roles."""
