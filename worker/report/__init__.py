"""
The report: what the worker says of a client, and how often it was right, as one HTML file that opens from the disk.

`reading` fetches what growth_brain holds, `record` what became of past claims, `arrange` makes pages of both, `figures`
draws, `render` writes HTML in the page's language, `writing` puts the files there. Jinja2 and matplotlib come with the
extra `report` and are imported when a page is made.
"""
