from .folder import FolderSource as FolderSource
from .hub import HubSource as HubSource
from .hub_api import list_hub as list_hub
from .s3 import S3Source as S3Source
