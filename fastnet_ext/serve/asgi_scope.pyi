from typing import Any, final

@final
class AsgiApplication:
    application: Any
    state: dict[str, Any]
    def __init__(self, application: Any) -> None: ...
