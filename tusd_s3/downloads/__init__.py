"""Finished uploads on their way out. Nothing that takes uploads in knows of it."""

from tusd_s3.downloads.delivery import Delivery, DeliveryBroken
from tusd_s3.downloads.options import DownloadOptions
from tusd_s3.downloads.service import DownloadRequest, Downloads, Unchanged

__all__ = [
    "Delivery",
    "DeliveryBroken",
    "DownloadOptions",
    "DownloadRequest",
    "Downloads",
    "Unchanged",
]
