"""A proxy that does nothing but pass on, on uvloop: what aiohttp costs before a gate has done anything.

Run as ``python -m bench.bare PORT UPSTREAM``.
"""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web


async def main(port: int, upstream: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    waits = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=waits) as session:

        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.content.read()  # Whatever its size, which ``request.read`` would not take.
            headers = {"Content-Type": request.content_type}
            async with session.request(request.method, upstream + request.path, data=body, headers=headers) as answer:
                passed = {
                    name: answer.headers[name] for name in ("Content-Type", "Content-Length") if name in answer.headers
                }
                response = web.StreamResponse(status=answer.status, headers=passed)
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        # Whoever hangs up cancels what is done for them, so that a stream which never ends is not kept for nobody.
        server = web.Server(forward, access_log=None, handler_cancellation=True)
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, backlog=4096)
        await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
