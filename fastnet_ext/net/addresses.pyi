from typing import final

@final
class AddressTable: ...
