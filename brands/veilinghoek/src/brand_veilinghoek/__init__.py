"""Veilinghoek, tips for sellers: will this auction get a second bidder?"""
