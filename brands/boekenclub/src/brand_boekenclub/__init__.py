"""Boekenclub, books by mail: who replies to the offer of an art book?"""
