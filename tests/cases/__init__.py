"""Cases of users: each began as a report, here or in a neighboring project.

One file per theme and one test per case. A test states in its name the behavior that a user may
rely on, and runs on the smallest data that show it. A case whose behavior is still to come waits
outside of the suite: a test is added with the change that makes it pass.
"""
