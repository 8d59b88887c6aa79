"""Does a bundle compute the right numbers on this machine?"""
