from typing import final

@final
class RequestStream: ...
