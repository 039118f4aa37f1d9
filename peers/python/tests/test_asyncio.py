import asyncio

import pytest
import smstream


async def echo(reader, writer):
    while data := await reader.read(5000):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def test_echo(address):
    async def client(n):
        reader, writer = await smstream.open_connection(address, timeout=10)
        data = bytes((i * n) & 255 for i in range(700_000))

        async def send():
            for at in range(0, len(data), 30_000):
                writer.write(data[at : at + 30_000])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        got = await reader.read(-1)
        await sending
        writer.close()
        await writer.wait_closed()
        assert got == data

    async def main():
        async with await smstream.start_server(echo, address) as server:
            assert server.is_serving() and server.address == address
            await asyncio.gather(*(client(n) for n in range(1, 6)))
        assert not server.is_serving()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_lines_and_limits(address):
    async def greet(reader, writer):
        name = await reader.readline()
        writer.write(b"hello " + name)
        await writer.drain()
        writer.close()

    async def main():
        async with await smstream.start_server(greet, address):
            reader, writer = await smstream.open_connection(address)
            writer.write(b"world\n")
            assert await reader.readline() == b"hello world\n"
            assert await reader.read() == b""
            assert isinstance(writer.get_extra_info("smstream"), smstream.Stream)
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_slow_reader_stops_the_writer(address):
    async def slow(reader, writer):
        await asyncio.sleep(0.3)
        data = await reader.read(-1)
        writer.write(str(len(data)).encode())
        writer.write_eof()

    async def main():
        async with await smstream.start_server(slow, address, limit=1000):
            reader, writer = await smstream.open_connection(address)
            writer.write(bytes(2_000_000))
            assert writer.transport.get_write_buffer_size() > 0
            await writer.drain()
            writer.write_eof()
            assert await reader.read(-1) == b"2000000"
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_death_of_the_peer(address, party):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        async def client(reader, writer):
            await reader.readexactly(1)
            asyncio.get_running_loop().call_soon(victim.kill)
            try:
                seen.set_result(await reader.read(1))
            except OSError as e:
                seen.set_result(e)

        async with await smstream.start_server(client, address):
            victim = party("connect", address, "victim")
            assert isinstance(await seen, smstream.PeerGone)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_no_listener(address):
    with pytest.raises(smstream.NoListener):
        asyncio.run(smstream.open_connection(address, timeout=0.1))
