from typing import final

@final
class Transport: ...
