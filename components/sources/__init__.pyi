from .folder import FolderSource as FolderSource
from .hub import HubSource as HubSource
from .hub import listed as listed
from .s3 import S3Source as S3Source
