"""A model version's way from one role to the other, as files.

One rank publishes (`publish`): a folder `v<step>-<incarnation>` with the tensors and a note about them appears whole, then the
oldest folders go. Any number of readers (`fetch`) see which versions came since the last one that they took, take those that
they want, and verify what they read. Nobody waits for anybody: a reader may be late, restarted, or absent.
"""
