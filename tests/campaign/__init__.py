"""Uploads through everything that can happen to them, against a model that is just bytes.

A hypothesis state machine drives two running servers over sockets, over a real S3 and a real
Redis, while processes are killed and frozen and networks are cut. Run a long one with

    python -m tests.campaign --minutes 60

`ledger` and `lifetime` are the model, `arena` the processes, `mischief` the faults, `machine` the
steps, `judge` what must hold at the end of each example.
"""
