"""Resource quantities, and what pods request."""

from decimal import Decimal

from tests.cluster.double.api.resource_types import Object

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(1000),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", 2)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


def quantity(text: str | int | float) -> Decimal:
    """The number a quantity such as `500m` or `2Gi` stands for."""
    text = str(text)
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            return Decimal(text.removesuffix(suffix)) * _SUFFIXES[suffix]
    return Decimal(text)


def plain(number: Decimal) -> str:
    """The quantity as text."""
    if number == number.to_integral_value():
        return str(int(number))
    return f"{int(number * 1000)}m"


def pod_resources(spec: Object, part: str = "requests") -> dict[str, Decimal]:
    """Requests or limits of all containers together."""
    total: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = total.get(name, Decimal(0)) + quantity(amount)
    return total
