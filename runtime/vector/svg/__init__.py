"""SVG files: read as drawings, written as plain paths."""

from runtime.vector.svg.read import SVG_NAMESPACE, parse_svg, read_svg
from runtime.vector.svg.write import DECIMALS, METADATA_NAMESPACE, format_svg, write_svg

__all__ = ["DECIMALS", "METADATA_NAMESPACE", "SVG_NAMESPACE", "format_svg", "parse_svg", "read_svg", "write_svg"]
