"""What verifying a token and answering /hello/ cost, with our package and with SimpleJWT alone.

Two processes hold the two projects: the application as it is, and the same application with SimpleJWT's own tokens and
authentication. They take turns, round after round, so that a busy moment of the machine meets both.
"""
