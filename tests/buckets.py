"""Buckets on the S3 server of the fixture `s3`."""

from ecomrec.settings import Settings
from ecomrec.store import S3Store, open_store


def in_s3(endpoint: str, url: str) -> Settings:
    return Settings(_env_file=None, store_url=url, s3_endpoint_url=endpoint, s3_region="eu-central-1", s3_access_key_id="who", s3_secret_access_key="secret")


def bucket(settings: Settings) -> S3Store:
    store = open_store(settings)
    store.client.create_bucket(Bucket=store.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return store
