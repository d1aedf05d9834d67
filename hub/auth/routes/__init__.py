"""/auth, /users, /audit: each file a router of one noun; here they are one."""

from fastapi import APIRouter

from hub.auth.routes import account, session, users

ROUTERS: tuple[APIRouter, ...] = (session.router, account.router, users.router)
router = APIRouter()
for _one in ROUTERS:
    router.include_router(_one)
