"""A WebSocket that sends back what it gets, and a page to try it: ``fastnet run examples.echo:app``."""

from fastnet import App, HTMLResponse, WebSocket

app = App()

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Echo</title>
<form><input autofocus autocomplete="off"><button>Send</button></form>
<ul></ul>
<script>
const socket = new WebSocket(location.href.replace(/^http/, "ws") + "echo");
const show = text => {
    const line = document.createElement("li");
    line.textContent = text;
    document.querySelector("ul").append(line);
};
socket.onopen = () => show("connected");
socket.onmessage = event => show(event.data);
socket.onclose = event => show(`closed: ${event.code} ${event.reason}`);
document.querySelector("form").onsubmit = event => {
    event.preventDefault();
    const input = document.querySelector("input");
    socket.send(input.value);
    input.value = "";
};
</script>
</html>
"""


@app.get("/", inline=True)
def index() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE)


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Every message goes back as it came, until the browser closes."""
    async for message in ws:
        await ws.send(message)


if __name__ == "__main__":
    app.run(port=8000)
