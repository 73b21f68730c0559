"""The gateway and the brands' own processes behind it; the only place for FastAPI and BentoML."""
