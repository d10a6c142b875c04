"""Addresses and names as people write them: none may carry a secret, for what is written ends in run.json, logs and job
files.

Credentials belong where fsspec and the cloud's own tools look for them: the environment, or files such as
~/.aws/credentials and ~/.config/fsspec/.
"""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from tsal_dist.errors import ConfigError

_SECRET = re.compile(
    r"secret|token|password|passwd|pwd|passphrase|signature|credential|^auth|jwt|bearer"
    r"|(access|api|account|private|shared)_?-?key",
    re.I,
)
_OF_A_URL = re.compile(r"^sig$|^code$|session|^key$", re.I)
"""Secrets as parameters of a URL. A shell calls other things so: folders of code, and sessions of tmux and the desktop."""
_NONE_IN_A_SHELL = re.compile(
    r"^(OLD)?PWD$|^AUTHORS?$|^TOKENIZERS_PARALLELISM$|^GOOGLE_APPLICATION_CREDENTIALS$|(?i:[_-](file|path|dir)$)"
)
"""Sound like a secret: the folder that one is in, a library's threads, and names for the place on disk of a secret."""


def is_url(text: str) -> bool:
    return "://" in text


def is_secret(name: str) -> bool:
    """Whether what goes by this name in a URL, or as a setting, is likely to be a secret."""
    return bool(_SECRET.search(name) or _OF_A_URL.search(name))


def is_secret_variable(name: str) -> bool:
    """Whether a variable of a shell, or a program's option, that goes by this name is likely to be a secret."""
    return bool(_SECRET.search(name) and not _NONE_IN_A_SHELL.search(name))


def refuse_secrets(text: str, what: str) -> str:
    """`text`, or ConfigError where a URL in it has a password, a key or a signature. The message does not repeat it."""
    for url in text.split("::") if is_url(text) else ():  # fsspec chains URLs
        if secret := _secret_in(url):
            raise ConfigError(
                f"{what} holds a URL with {secret}, which would be written into run.json, logs and job files: "
                f"{shown(url)}. Leave it out; put credentials into the environment or the store's own config file."
            )
    return text


def shown(text: str) -> str:
    """`text` for a message: what stands before an @ or after a ? or # is left out of its URLs."""
    return re.sub(r"([?#])[^\s'\"]*", r"\1...", re.sub(r"://[^/\s'\"]*@", "://...@", text))


def _secret_in(url: str) -> str:
    try:
        parts = urlsplit(url)
        query = parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True)
    except ValueError:
        return "a form that cannot be checked"
    user = unquote(parts.netloc.rpartition("@")[0])
    if ":" in user:
        return "user:password@"
    # Elsewhere a name before the @ is a container, a region or a login; on the web it is a token.
    if user and parts.scheme.lower() in ("http", "https"):
        return "a token before the @"
    named = [name for name, _ in query if is_secret(name)]
    return f"the parameter {named[0]!r}" if named else ""
