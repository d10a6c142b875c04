"""What pip leaves of an installed package that offers something, for Python to find."""

from pathlib import Path


def install(site: Path, package: str, offers: str) -> None:
    """`package` is name-version; `offers` is what its entry_points.txt says."""
    name, version = package.split("-")
    info = site / f"{package}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(offers)
