"""BiomedCLIP with fixed shapes: packages.py has the programs, facts.py what an app must know beside them."""
