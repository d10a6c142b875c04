"""Labelling by hand, on one's own machine: frames to label, a page that shows them, and the table it fills.

`suggested` keeps what was suggested, `tasks` are the frames that a page shows, `book` is the table that grows, `server` answers the page
on the loopback interface alone, and `page.html` is the page. Nothing leaves the machine.
"""
