"""What turns an image or a text into a vector of the joint space: interfaces, the factory, and one module a kind.

Nothing outside this package asks what a tower is made of.
"""
