"""Records, tails and leases in Redis.

One package, because one truth: a lease is worth something only if every write to the record checks
it in the same atomic step. What is stored under which key is told in `keys` and docs/DATA.md.
"""

from tusd_s3.stores.redis.check import check_redis
from tusd_s3.stores.redis.client import RedisOptions, open_redis
from tusd_s3.stores.redis.records import RedisRecords

__all__ = ["RedisOptions", "RedisRecords", "check_redis", "open_redis"]
