"""Let a process parse YAML with libyaml: same constructors and result, a tenth of the time.

At every start, lmms-eval parses its own 2,000 task files with PyYAML's Python scanner, which takes half of that start.
`user_commands.environment` puts this folder on PYTHONPATH; Python imports `sitecustomize` before anything else.
"""

from __future__ import annotations

import yaml

if yaml.__with_libyaml__:

    class FullLoader(yaml.cyaml.CParser, yaml.constructor.FullConstructor, yaml.resolver.Resolver):  # type: ignore[misc]
        """`yaml.FullLoader` with libyaml's parser; lmms-eval adds its `!function` to this class."""

        def __init__(self, stream: object) -> None:
            yaml.cyaml.CParser.__init__(self, stream)
            yaml.constructor.FullConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)
            self.name = getattr(stream, "name", "<text>")  # lmms-eval asks which file it reads

    yaml.FullLoader = yaml.loader.FullLoader = FullLoader
