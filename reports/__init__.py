"""What a run found out: the result model, the errors and progress lines every room shares, and the report writers.

The lowest layer: it imports nothing of the other rooms.
"""
