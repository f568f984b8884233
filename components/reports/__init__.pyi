from . import chain as chain
from . import grid as grid
from . import saved_steps as saved_steps
from . import scale_search as scale_search
from .comparison.compare import compare as compare
from .comparison.inputs import Model as Model
from .comparison.inputs import Role as Role
from .comparison.published import known_as as known_as
