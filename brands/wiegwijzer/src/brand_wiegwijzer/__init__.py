"""Wiegwijzer, for parents to be: which birth weight is usual for a pregnancy like this?"""
