from .find import WatchRequest as WatchRequest
from .find import check_watch as check_watch
from .find import find_new_release as find_new_release
from .record import Recycled as Recycled
from .record import record_recycled as record_recycled
