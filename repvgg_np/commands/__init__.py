"""One file for each command of `repvgg-np`: its options, what it calls, what it prints.

A file has `TEXT`, what the command does in a line; `add_options(parser)`; and `run(options)`, which returns the exit
code.
`options.py` has what several commands have in common.
"""
