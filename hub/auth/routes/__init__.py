"""/auth, /users, /audit: each file a router of one noun; here they are one."""

from fastapi import APIRouter

from hub.auth.routes import account, audit, keys, session, totp, users

ROUTERS: tuple[APIRouter, ...] = (session.router, account.router, keys.router, totp.router, users.router, audit.router)
router = APIRouter()
for _one in ROUTERS:
    router.include_router(_one)
