"""Why a record's robots are the right ones, in four named steps, one a line; and how to check it.

    Task analysis: what is asked, and what that takes.
    Environment assessment: what the task says of the site and what the picture shows.
    Robot capability matching: who falls away and why, who could at a higher cost, who suits.
    Decision justification: what settled it. So: Robot with Legs.

`reason` writes it, all of it from the record: what is told from reading its words back, what is
seen from its evidence, reasons from the capability model. A number of the site is given only where
the words have it or the picture shows it: nobody knows the speed of a gale that is merely named.
`parse.parse` finds the parts of any reasoning, ours or a model's; `check.check` holds them against
a record. How things are put stands in phrases.yaml, the words that are looked for in parse.py.
"""

from pipelines.robots.reasoning.write import UntoldError, reason

__all__ = ["UntoldError", "reason"]
