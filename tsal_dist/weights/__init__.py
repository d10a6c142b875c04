"""A model version's way from one role to the other, as files.

One rank publishes (`publish`): a folder `v<step>` with the tensors and a note about them appears whole, then the
oldest folders go. Any number of readers (`fetch`) take the newest version, or every version since the last one they
took, in order, and verify what they read. Nobody waits for anybody:
a reader may be late, restarted, or absent.
"""
