"""A part of a page that a bench writes, between two marks; what stands around it is a person's."""

from pathlib import Path

from tsal_dist.errors import ConfigError


def split_page(page: Path, begin: str, end: str) -> tuple[str, str]:
    """What stands before and after."""
    text = page.read_text() if page.is_file() else ""
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ConfigError(f"{page} has no place for the table: it needs the lines {begin!r} and {end!r}.")
    return before, after


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put `text` there."""
    from tsal_dist.run_dir import write_whole

    before, after = split_page(page, begin, end)
    write_whole(page, f"{before}{begin}\n{text}\n{end}{after}".encode())
