"""The HTTP application: routes and what surrounds them."""

from fastapi import FastAPI

from gateway import __version__
from gateway.web import consents, documents, health, status
from gateway.web.access import Authentication, WebContext
from gateway.web.envelope import Envelope
from gateway.web.problems import install

__all__ = ["WebContext", "create_app"]


def create_app(context: WebContext) -> FastAPI:
    """The application over what a node consists of.

    Its description is at `/openapi.json`; there is no page that would load scripts from elsewhere.
    """
    app = FastAPI(
        title="Imaging exchange gateway",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    for router in (documents.router, consents.router, status.router, health.router):
        app.include_router(router)
    install(app)
    app.add_middleware(Authentication, context=context)
    app.add_middleware(Envelope, document_limit_bytes=context.documents.limit_bytes)
    return app
