"""A URL with a secret in it is refused, by words that do not repeat the secret."""

import pytest

from tsal_dist.address import refuse_secrets, shown
from tsal_dist.errors import ConfigError

SECRET = "hunter2XYZ"
GIVEAWAYS = [
    f"s3://key:{SECRET}@bucket/shards",
    f"https://user:{SECRET}@host/shards",
    f"simplecache::s3://key:{SECRET}@bucket/shards",
    f"https://host/shards?X-Amz-Credential=a&X-Amz-Signature={SECRET}",
    f"https://host/a?sv=2020&sig={SECRET}",
    f"https://host/a?access_token={SECRET}",
    f"gs://bucket/a#api_key={SECRET}",
    f"https://host/a?password={SECRET}",
    f"http://[::1{SECRET}/a",
    f"https://{SECRET}@host/shards",
    f"https://user%3A{SECRET}@host/shards",
    f"https://host/a?auth={SECRET}",
    f"https://host/a?jwt={SECRET}",
    f"https://host/a?code={SECRET}",
    f"https://host/a?%74oken={SECRET}",
    f"https://host/a?key={SECRET}",
    f"https://host/a#session_id={SECRET}",
]


@pytest.mark.parametrize("url", GIVEAWAYS)
def test_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="put credentials into the environment") as refusal:
        refuse_secrets(url, "data.labelled")
    if "[" not in url:
        assert SECRET not in str(refusal.value)
    assert "data.labelled" in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "shards/demo", "s3://bucket/shards", "s3://bucket@region/a", "abfs://box@account.net/a", "https://host/a?encoding=x",
        "https://host/a?version=3&keyframe=1",
        "simplecache::s3://bucket/a", "file:///a/b", "pipe:cat x", "user:pass@host", "",
    ],
)  # fmt: skip
def test_other_addresses_pass_as_they_are(text):
    assert refuse_secrets(text, "data.labelled") == text


def test_what_is_shown_has_neither_user_nor_query():
    assert (
        shown(f"a s3://u:{SECRET}@b/c and http://h/p?x={SECRET} z") == "a s3://...@b/c and http://h/p?... z"
    )
