"""Kadogids, a catalogue of gifts: who orders, and for how much?"""
