"""How many processes should teach: `costs` measures, `processes` runs what is measured, `split` does the arithmetic."""
