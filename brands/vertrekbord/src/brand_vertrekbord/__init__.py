"""Vertrekbord, flights at a glance: will this flight leave late?"""
