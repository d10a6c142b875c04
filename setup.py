"""Which folders are packages; all else is in pyproject.toml.

launch, tools and tests are too common as import names to ship. The pages of tools that stand for verbs of the command
`tsal` come along as `tsal_dist.tools`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tsal_dist*"]), "tsal_dist.tools"],
    package_dir={"tsal_dist.tools": "tools"},
)
