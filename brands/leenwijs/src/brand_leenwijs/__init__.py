"""Leenwijs, comparing loans: who would take up a personal loan?"""
