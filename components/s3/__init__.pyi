from .bucket import MOST_PARTS as MOST_PARTS
from .bucket import SMALLEST_PART as SMALLEST_PART
from .bucket import Bucket as Bucket
from .bucket import Object as Object
from .bucket import Upload as Upload
from .conditional import require_conditional_writes as require_conditional_writes
from .retries import Absent as Absent
from .retries import AlreadyThere as AlreadyThere
