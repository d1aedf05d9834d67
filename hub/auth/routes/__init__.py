"""/auth, /users, /audit: each file a router of one noun; here they are one."""

from fastapi import APIRouter

ROUTERS: tuple[APIRouter, ...] = ()
router = APIRouter()
for _one in ROUTERS:
    router.include_router(_one)
