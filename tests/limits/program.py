"""What a worker's own process runs."""

from milepost import Milepost
from tests.limits.app import plain, take_turns, visit

milepost = Milepost([visit, take_turns, plain])
