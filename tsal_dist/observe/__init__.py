"""What is seen of a run from outside.

A rank logs to its own file (`log`), counts while it works (`meters`), and rank 0 of a role writes a line of
numbers now and then (`sinks`): a JSONL file that any tool can read during the run and after a crash. A service that
draws them is told by a process that follows the file (`service_sink`, `forward`, `services`). A person
watches one line (`display`). METRICS.md says what each number means.
"""
