"""From graphs to what a runtime loads: one folder per target.

This package can be called: `nexus_edge.export(...)` is a public function, and Python binds the same name to this
package as soon as anything imports a target. So both are one object; see `nexus_edge.request.export` for the function.
"""

import sys
from types import ModuleType

from nexus_edge.request import export


class _CallablePackage(ModuleType):
    __call__ = staticmethod(export)


sys.modules[__name__].__class__ = _CallablePackage
