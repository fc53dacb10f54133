"""The words of the tiny bundle."""

WORDS = (
    "a the on in of and with man woman dog cat car beach snow grass red blue black brown white flower runs jumps plays"
)
