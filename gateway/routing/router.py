"""Matching routes against who sent an instance and whom it was addressed to."""

from collections.abc import Iterable

from gateway.domain.transfer import Route


def matching_routes(routes: Iterable[Route], calling_ae_title: str, called_ae_title: str) -> tuple[Route, ...]:
    """The routes that apply, one per destination, ordered by name (the first name wins a destination)."""
    by_destination: dict[str, Route] = {}
    for route in sorted(routes, key=lambda route: route.name):
        if route.calling_ae_title in (None, calling_ae_title) and route.called_ae_title in (
            None,
            called_ae_title,
        ):
            by_destination.setdefault(route.destination_ae_title, route)
    return tuple(by_destination.values())


def addressable_titles(routes: Iterable[Route], own_ae_title: str) -> frozenset[str]:
    """The called AE titles we answer to: our own, and every one a route names."""
    return frozenset({own_ae_title, *(route.called_ae_title for route in routes if route.called_ae_title)})
