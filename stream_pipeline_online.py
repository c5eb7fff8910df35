"""`StreamSDK` under the reference's module name, so that scripts written for it run unchanged."""

from core.sdk import StreamSDK

__all__ = ["StreamSDK"]
