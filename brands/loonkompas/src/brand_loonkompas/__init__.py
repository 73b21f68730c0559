"""Loonkompas, jobs and pay: what does a profile like this earn an hour?"""
