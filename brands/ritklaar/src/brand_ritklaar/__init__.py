"""Ritklaar, rides booked ahead: will this booking be cancelled?"""
