import asyncio

from fastnet_ext.exchange.exchange import LoopLocal
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.serve.aftermath import executor_of, spawn, when_done


def test_callbacks_run_when_the_exchange_is_over() -> None:
    told: list[str] = []
    exchange = MemoryExchange("GET", "/")
    when_done(exchange, lambda: told.append("first"))
    when_done(exchange, lambda: told.append("second"))
    assert told == []
    exchange.disconnect()
    assert told == ["first", "second"]
    when_done(exchange, lambda: told.append("late"))
    assert told == ["first", "second", "late"]


def test_spawned_coroutines_run_beside_requests() -> None:
    async def main() -> str:
        exchange = MemoryExchange("GET", "/", local=LoopLocal(asyncio.get_running_loop()))

        async def work() -> str:
            await asyncio.sleep(0)
            return "done"

        return str(await spawn(exchange, work()))

    assert asyncio.run(main()) == "done"


def test_the_pool_is_the_loop_s() -> None:
    async def main() -> None:
        pool = object()
        exchange = MemoryExchange("GET", "/", local=LoopLocal(asyncio.get_running_loop(), pool))
        assert executor_of(exchange) is pool

    asyncio.run(main())
