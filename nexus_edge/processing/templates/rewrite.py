"""A template's syntax tree: what it may not say is refused by name, and what could grow unseen is measured."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

EACH, JOINED, MADE = "nexus_edge_each", "nexus_edge_joined", "nexus_edge_made"
"""Filters of the sandbox: the items of a loop, the operands of `~`, a list or an object that a template spells out."""

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from ... import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.ScopedEvalContextModifier: "autoescape",
}

Node = TypeVar("Node", bound=nodes.Expr)


class Generation(Extension):
    """`{% generation %}` ... `{% endgeneration %}`: marks what an assistant wrote, for training; it renders as it is.

    Source: transformers 5.23, documentation of `return_assistant_tokens_mask`.
    """

    tags = {"generation"}  # noqa: RUF012, the base class has it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def rewritten(tree: nodes.Template) -> nodes.Template:
    """The tree with what is measured; raises TemplateSyntaxError, with a line, for what no chat template needs."""
    for node in tree.find_all(nodes.Node):
        _refuse(node)
    return _Measuring().visit(tree)


def static_characters(node: nodes.Node | Sequence[nodes.Node]) -> int:
    """Characters that stand in a template itself."""
    trees: Iterable[nodes.Node] = [node] if isinstance(node, nodes.Node) else node
    found = 0
    for tree in trees:
        if isinstance(tree, nodes.TemplateData):
            found += len(tree.data)
        found += sum(len(data.data) for data in tree.find_all(nodes.TemplateData))
    return found


def _refuse(node: nodes.Node) -> None:
    named = _REFUSED.get(type(node))
    if named is None and isinstance(node, nodes.For) and node.recursive:
        named = "a recursive loop"
    if named is None and isinstance(node, nodes.Getattr | nodes.NSRef) and node.attr.startswith("_"):
        named = f"the attribute {node.attr}"
    if named is not None:
        raise TemplateSyntaxError(f"{named} is not for chat templates", node.lineno)


class _Measuring(NodeTransformer):
    """Wraps what grows into filters that measure it."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802, named after the node
        weight = static_characters(node.body)
        self.generic_visit(node)
        node.iter = _filter(EACH, cast(nodes.Expr, node.iter), [nodes.Const(weight, lineno=node.lineno)])
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filter(JOINED, nodes.List(node.nodes, lineno=node.lineno))

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        return self._made(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:  # noqa: N802
        return self._made(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        return self._made(node) if node.ctx == "load" else node

    def _made(self, node: Node) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(MADE, node)


def _filter(name: str, value: nodes.Expr, args: list[Any] | None = None) -> nodes.Filter:
    return nodes.Filter(value, name, args or [], [], None, None, lineno=value.lineno)
