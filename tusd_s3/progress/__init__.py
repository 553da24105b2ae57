"""Watching uploads: how far they are, told to anyone who has the address, as they go on.

`watching` serves those who watch, `reporting` stands beside those who receive, in any process.
`state` says what is shown, `rate` how fast it moves. The uploads themselves know nothing of it: the
engine tells an observer (`ports.ReceptionObserver`) that a body begins and ends.
"""

from tusd_s3.progress.reporting import Reporter
from tusd_s3.progress.seats import Seat
from tusd_s3.progress.state import Phase, Progress
from tusd_s3.progress.watching import Watching

__all__ = ["Phase", "Progress", "Reporter", "Seat", "Watching"]
