"""Moving a library between any two configurations: one file, an archive, that one library writes and another reads.

`docs/moving.md` describes the format. `archive` is the container, `exporting` and `importing` fill and empty it, and
`files` does that for a file and the library of a configuration.
"""
