"""Draadloos, news of technology: which desk gets this post?"""
