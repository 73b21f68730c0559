"""Postvrij, a community free of junk: is this mail spam, is this advert fit to show?"""
