"""Who is told of failures: routes, the messages for them, and who sends those."""

from milepost.notifiers.addresses import Address, make_secret
from milepost.notifiers.notifier import Notifier, send
from milepost.notifiers.refusals import NotTaken
from milepost.notifiers.routes import Route, Routes

__all__ = ["Address", "NotTaken", "Notifier", "Route", "Routes", "make_secret", "send"]
