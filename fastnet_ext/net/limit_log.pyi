from typing import final

@final
class LimitLog: ...
