"""Messages for echoes, the same in every run."""

import json
import random


def octets(size: int, count: int) -> tuple[bytes, ...]:
    """Messages of which no two are alike."""
    source = random.Random(size)
    return tuple(source.randbytes(size) for _ in range(count))


def orders(size: int, count: int) -> tuple[str, ...]:
    """JSON texts of orders, ``size`` bytes each, that have names and little else in common."""
    source = random.Random(size)
    texts = []
    for number in range(count):
        orders: list[dict[str, object]] = []
        text = ""
        while len(text) < size:
            orders.append(
                {
                    "id": source.randrange(10**9),
                    "symbol": source.choice(("AAPL", "MSFT", "NVDA", "SAP", "ASML", "TSM")),
                    "side": source.choice(("buy", "sell")),
                    "price": round(source.uniform(50, 900), 2),
                    "quantity": source.randrange(1, 5000),
                    "venue": source.choice(("XNAS", "XETR", "XAMS")),
                    "time": f"2026-11-{source.randrange(1, 30):02}T{source.randrange(24):02}:00:{number:02}Z",
                }
            )
            text = json.dumps({"orders": orders, "note": ""}, separators=(",", ":"))
        orders.pop()
        text = json.dumps({"orders": orders, "note": ""}, separators=(",", ":"))
        texts.append(text[:-2] + "." * (size - len(text)) + text[-2:])
    return tuple(texts)
