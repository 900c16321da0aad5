"""The Application Entity: listening, associations, negotiation, messages (PS3.7, PS3.8).

Nothing here knows what a service does with a message, nor where objects are kept.
"""
