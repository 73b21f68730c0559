"""Autoplein, the market place for used cars: what is this car worth?"""
