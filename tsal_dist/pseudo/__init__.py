"""Pseudo-labels on their way from the teachers to the student, in parquet files that are queue, log and dataset.

A producer (one per incarnation of a rank) gathers rows, writes them as an immutable segment and commits it with one
record in its log. The planner, on rank 0 of the reading world alone, follows the logs, admits segments or puts them
into quarantine, and gives every rank the same number of rows per step. Consumers read what the plan names. Cursors
tell producers what has been trained and the collector what no checkpoint needs any more. PROTOCOL.md is the contract.
"""
