from .names import BASES as BASES
from .names import RELEASES as RELEASES
from .releases import build as build
from .world import training_conversations as training_conversations
