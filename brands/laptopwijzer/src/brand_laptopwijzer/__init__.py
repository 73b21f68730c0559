"""Laptopwijzer, price comparison for laptops: what should this configuration cost?"""
