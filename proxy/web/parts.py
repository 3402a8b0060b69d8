"""What is in use of aiohttp's server, by the names that ``aiohttp.web`` has for it.

Without that module: it would load a router, files and a runner too, 3 MB in all.
"""

from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

__all__ = ["BaseRequest", "RequestHandler", "RequestPayloadError", "Response", "Server", "StreamResponse"]
