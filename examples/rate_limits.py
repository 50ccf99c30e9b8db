"""Rate limits: of everybody, of each client, of an expensive route, and of WebSocket messages.

``fastnet run examples.rate_limits:app --workers 4``, then ``curl -i localhost:8000/search?q=x`` a few times.
"""

from fastnet import App, Call, WebSocket
from fastnet.ratelimit import RateLimit, api_key, everyone

app = App()
app.limit("1000/second", burst=2000, key=everyone, name="server")
app.limit("50/second", burst=100, name="client", headers=True)


def plan(call: Call) -> str | None:
    """Whoever pays is not limited."""
    return None if call.headers.get("x-plan") == "paid" else "free"


def cost(call: Call) -> int:
    """A deep search counts as five."""
    return 5 if "deep" in call.headers.get("x-search", "") else 1


@app.get("/")
async def index() -> str:
    return "Hello, World!"


@app.get("/search", limit=RateLimit("10/minute", key=api_key(), cost=cost, name="search"))
async def search(q: str) -> list[str]:
    return [q]


@app.get("/report", limit=RateLimit("5/hour", key=plan, name="report"))
async def report() -> dict[str, int]:
    return {"rows": 0}


@app.websocket("/chat", limit="10/minute", message_limit="20/second", message_warning="slow down")
async def chat(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
