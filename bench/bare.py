"""A proxy that does nothing but pass on: what aiohttp costs before a gate has done anything.

It keeps its connections to the upstream, as aiohttp does unless told otherwise; the gate opens one for each call.
Run as ``python -m bench.bare PORT UPSTREAM``.
"""

import asyncio
import sys

import aiohttp
from aiohttp import web


async def main(port: int, upstream: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.read()
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

        server = web.Server(forward, access_log=None)
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, backlog=1024)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
